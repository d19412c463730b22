//! Things that are used again instead of being freed, and let go of when they are not needed any more.
//!
//! What a crowd needed at its peak would otherwise be kept for ever, and where each may have grown in use, as a buffer
//! does, what is kept would grow for ever, however slowly.

/// Spare things; the one that came last is used first, as the processor's cache knows it best.
#[derive(Debug)]
pub struct Spare<T> {
    kept: Vec<T>,
    /// The least that were left at any time since the last [`Spare::trim`]: so many nobody needed.
    unused: usize,
}

impl<T> Default for Spare<T> {
    fn default() -> Spare<T> {
        Spare { kept: Vec::new(), unused: 0 }
    }
}

impl<T> Spare<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps one more.
    #[inline]
    pub fn give(&mut self, thing: T) {
        self.kept.push(thing);
    }

    /// One of them, if there is any.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        let thing = self.kept.pop()?;
        self.unused = self.unused.min(self.kept.len());
        Some(thing)
    }

    /// One that fits, if there is any.
    pub fn take_fitting(&mut self, fits: impl FnMut(&T) -> bool) -> Option<T> {
        let at = self.kept.iter().rposition(fits)?;
        let thing = self.kept.remove(at);
        self.unused = self.unused.min(self.kept.len());
        Some(thing)
    }

    /// Lets go of as many as nobody needed since the last call; each is given to `gone` before.
    pub fn trim(&mut self, mut gone: impl FnMut(&T)) {
        self.kept.drain(..self.unused).for_each(|thing| gone(&thing));
        self.kept.shrink_to(self.kept.len() * 2);
        self.unused = self.kept.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(spare: &mut Spare<u32>) -> Vec<u32> {
        let mut gone = Vec::new();
        spare.trim(|thing| gone.push(*thing));
        gone
    }

    #[test]
    fn what_nobody_needed_goes_and_the_rest_stays() {
        let mut spare = Spare::default();
        (0..10).for_each(|thing| spare.give(thing));
        assert_eq!(trimmed(&mut spare), [0; 0], "a while ago there was nothing yet");
        let taken: Vec<_> = std::iter::from_fn(|| spare.take()).take(3).collect();
        assert_eq!(taken, [9, 8, 7], "the last first");
        taken.into_iter().for_each(|thing| spare.give(thing));
        assert_eq!(trimmed(&mut spare), [0, 1, 2, 3, 4, 5, 6], "three were enough at any time");
        assert_eq!(spare.len(), 3);
        assert_eq!(spare.take_fitting(|thing| *thing == 8), Some(8));
        assert_eq!(spare.take_fitting(|thing| *thing == 8), None);
        assert_eq!(trimmed(&mut spare).len(), 2);
        assert!(spare.is_empty() && trimmed(&mut spare).is_empty());
    }
}
