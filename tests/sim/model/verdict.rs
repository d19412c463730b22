//! What can be judged of a view only when all is said.

use super::{Truth, Viewer};

impl Viewer {
    /// Judges the view when everything that was said has been heard. `open`: the connection stands still.
    pub(crate) fn judge(&self, truth: &Truth, open: bool) {
        if self.loose {
            return;
        }
        let mine = |n: &usize| truth.published[*n].client == self.client;
        for (numbering, offset) in &self.skipped {
            match truth.log.get(numbering).and_then(|log| log.get(offset)) {
                Some(n) => {
                    assert!(
                        mine(n) && !truth.published[*n].echo,
                        "client {}: {offset} of {numbering:?} is missing ({n})",
                        self.client
                    );
                }
                None => {
                    assert!(
                        self.silent.contains_key(&numbering.0),
                        "client {}: {offset} of {numbering:?} is missing",
                        self.client
                    )
                }
            }
        }
        for (numbering, from, to) in &self.announced {
            let lost = truth.log.get(numbering).into_iter().flat_map(|log| log.range(from..=to));
            for (offset, n) in lost {
                let others = !mine(n) || (truth.published[*n].echo && !truth.published[*n].tagged);
                assert!(others, "client {}: {offset} of {numbering:?} was never for it", self.client);
            }
        }
        if open {
            self.judge_tail(truth);
            self.judge_directs(truth);
        }
    }

    pub(super) fn judge_tail(&self, truth: &Truth) {
        for (room, member) in &self.rooms {
            let numbering = (room.clone(), member.epoch.clone());
            for offset in member.next..=truth.head(&numbering) {
                let silent = match truth.log[&numbering].get(&offset) {
                    Some(n) => truth.published[*n].client == self.client && !truth.published[*n].echo,
                    None => self.silent.contains_key(room),
                };
                assert!(silent, "client {}: {offset} of {numbering:?} never came", self.client);
            }
        }
        assert!(self.pending.is_empty(), "client {}: unanswered {:?}", self.client, self.pending);
        let welcomed = self.welcomed.expect("judged when welcomed");
        let missed = truth.broadcasts_heard.iter().filter(|n| {
            let published = &truth.published[**n];
            published.step > welcomed && published.client != self.client && !self.broadcasts.contains(n)
        });
        assert!(
            missed.count() as u64 <= self.broadcasts_lost,
            "client {}: broadcasts never came",
            self.client
        );
    }
}
