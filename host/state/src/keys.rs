//! The keys of one call: many at once, and not too many.

use sluice_spans::{Refusal, Texts};

/// Keys of one call. A slice of a request has 512 spans.
const KEYS: usize = 1 << 16;

/// So many keys are worked on before it is asked whether to go on: some ms at most.
const PACE: usize = 1 << 10;

/// Whether to go on, which is asked now and then.
type GoesOn<'k> = dyn FnMut() -> bool + 'k;

/// Keys to work on.
pub struct Keys<'k> {
    texts: &'k Texts,
    goes_on: Option<&'k mut GoesOn<'k>>,
}

impl<'k> From<&'k Texts> for Keys<'k> {
    /// All of them, however long that takes.
    fn from(texts: &'k Texts) -> Self {
        Self { texts, goes_on: None }
    }
}

impl<'k> Keys<'k> {
    /// Keys on which work ends with a refusal once `goes_on` says so. Few are not worth the question: it is asked before
    /// every 1,024 keys if there are more than that.
    pub fn paced(texts: &'k Texts, goes_on: &'k mut GoesOn<'k>) -> Self {
        Self { texts, goes_on: Some(goes_on) }
    }

    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        if !self.texts.is_well_formed() {
            return Err(Refusal::malformed("keys whose ends do not fit"));
        }
        if self.texts.len() > KEYS {
            return Err(Refusal::limit("more keys at once than the limit"));
        }
        Ok(self)
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn texts(&self) -> &'k Texts {
        self.texts
    }

    /// Each key to be worked on, or a refusal if the work is to end.
    pub(crate) fn each(self) -> impl Iterator<Item = Result<&'k [u8], Refusal>> {
        let Self { texts, goes_on } = self;
        let mut goes_on = goes_on.filter(|_| texts.len() > PACE);
        texts.iter().enumerate().map(move |(i, key)| {
            let goes_on = goes_on.as_mut().is_none_or(|goes_on| i % PACE != 0 || goes_on());
            if goes_on { Ok(key) } else { Err(Refusal::limit("there is no time for more keys")) }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use sluice_spans::{RefusalCode, Values};

    use super::*;
    use crate::{Staged, Store};

    fn keys(count: usize) -> Texts {
        (0..count).map(|key| key.to_string()).collect()
    }

    #[test]
    fn what_ends_amid_many_keys_is_done_for_none_of_them() {
        let store = Arc::new(Store::timed_by_hand(1 << 20));
        let (keys, mut asked) = (keys(2_500), 0);
        for most in 0..4 {
            let mut staged = Staged::default();
            staged.on(&store);
            asked = 0;
            let mut goes_on = || {
                asked += 1;
                asked <= most
            };
            let set = staged.set(Keys::paced(&keys, &mut goes_on), &Values::int(1), 0);
            assert_eq!(set.map_err(|refusal| refusal.code), if most == 3 { Ok(()) } else { Err(RefusalCode::Limit) });
            let found = staged.get(&keys, 1 << 20).unwrap();
            assert_eq!(found.types, vec![if most == 3 { 3 } else { 0 }; 2_500]);
        }
        assert_eq!(asked, 3);
    }

    #[test]
    fn few_keys_are_not_worth_the_question() {
        let mut goes_on = || unreachable!();
        let keys = keys(PACE);
        assert!(Keys::paced(&keys, &mut goes_on).each().all(|key| key.is_ok()));
    }
}
