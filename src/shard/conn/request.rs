//! A request for the API while its body comes, and while its answer is awaited.

use crate::base::clock::Mono;
use crate::dialect::api::route::Call;
use crate::wire::http::answer::After;
use crate::wire::http::body::BodyReader;

/// How a request is to be answered, whatever the answer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// It was a `HEAD`.
    pub(crate) head_only: bool,
    /// What becomes of the connection.
    pub(crate) after: After,
}

/// What a request's head has said.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) call: Call,
    pub(crate) terms: Terms,
    /// What makes a second try of the same publication known.
    pub(crate) idempotency_key: Option<Box<[u8]>>,
    pub(crate) body: BodyReader,
}

/// A request that others were asked about.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) terms: Terms,
    /// Whoever has not answered by then is taken for dead.
    pub(crate) until: Mono,
    /// The answers to a batch; none for a single one.
    pub(crate) batch: Option<Batch>,
}

/// The answers to a batch, as far as they have come.
#[derive(Debug)]
pub(crate) struct Batch {
    /// By place in the batch, as JSON; empty while it is missing.
    pub(crate) results: Vec<Vec<u8>>,
    /// Invariant: how many are empty.
    pub(crate) missing: usize,
}

impl Batch {
    /// A batch without answers.
    pub(crate) fn new(count: usize) -> Batch {
        Batch { results: vec![Vec::new(); count], missing: count }
    }

    /// Takes an answer, which is not empty.
    pub(crate) fn put(&mut self, number: u32, result: Vec<u8>) {
        let Some(place) = self.results.get_mut(number as usize) else { return };
        debug_assert!(place.is_empty() && !result.is_empty(), "each is answered once");
        self.missing -= 1;
        *place = result;
    }
}
