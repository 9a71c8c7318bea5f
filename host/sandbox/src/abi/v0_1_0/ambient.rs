//! The capabilities `clock` and `random`.

use std::time::{SystemTime, UNIX_EPOCH};

use sluice_spans::{Refusal, RefusalCode};
use sluice_state::Random;

use super::generated::sluice::plugin::{clock, random};
use super::{Host, WitRefusal, refusal};
use crate::capability::Capability;

/// Random numbers that one host call may ask for.
const NUMBERS: u32 = 1 << 16;

impl clock::Host for Host {
    fn now_unix_nano(&mut self) -> Result<u64, WitRefusal> {
        let result = self.enter_for(Capability::Clock).map(|()| *self.now.get_or_insert_with(unix_nano));
        self.answer(result)
    }
}

impl random::Host for Host {
    fn numbers(&mut self, count: u32) -> Result<Vec<u64>, WitRefusal> {
        let result = self.enter_for(Capability::Random).and_then(|()| self.random_numbers(count));
        self.answer(result)
    }
}

impl Host {
    fn random_numbers(&mut self, count: u32) -> Result<Vec<u64>, Refusal> {
        if count > NUMBERS {
            return Err(refusal(RefusalCode::Limit, "more random numbers at once than the limit"));
        }
        Ok((0..count).map(|_| self.random_number()).collect())
    }

    /// The next number of the instance.
    fn random_number(&mut self) -> u64 {
        let seed = self.provided.seed;
        self.random.get_or_insert_with(|| seed.map_or_else(Random::unseeded, Random::seeded)).number()
    }
}

/// 0 for a machine that believes to live before 1970.
fn unix_nano() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::super::Phase;
    use super::*;
    use crate::access::Grants;
    use crate::capability::Provided;
    use crate::limits::Limits;

    #[test]
    fn a_capability_that_is_not_granted_is_denied() {
        let mut host = Host::new(Limits::default(), Arc::new(Grants::default()));
        host.phase = Phase::Serving;
        let mut provided = Provided::default();
        provided.grant(Capability::Clock);
        host.provided = Arc::new(provided);
        assert!(clock::Host::now_unix_nano(&mut host).is_ok());
        let refusal = random::Host::numbers(&mut host, 1).unwrap_err();
        assert_eq!((refusal.code, host.refusals()), (RefusalCode::Denied as u32, 1));
    }
}
