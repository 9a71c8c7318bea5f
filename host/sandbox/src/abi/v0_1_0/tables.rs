//! The capability `tables`.

use std::sync::Arc;

use sluice_spans::Refusal;
use sluice_state::{Keys, Table};

use super::generated::sluice::plugin::columns::Texts;
use super::generated::sluice::plugin::tables;
use super::{Host, WitRefusal, denied, shown};
use crate::capability::Capability;

impl tables::Host for Host {
    fn look_up(&mut self, table: String, column: String, keys: Texts) -> Result<tables::Found, WitRefusal> {
        // The guest could not hold more.
        let most_bytes = self.limits.memory_bytes;
        let result = self.enter_for(Capability::Tables).and_then(|()| self.table_now(&table));
        let result = result.and_then(|table| {
            let keys = keys.into();
            table.look_up(&column, Keys::paced(&keys, &mut || !self.timer.is_spent()), most_bytes)
        });
        self.answer(result.map(|found| tables::Found { present: found.present, values: found.values.into() }))
    }
}

impl Host {
    /// A table as it was when this call first asked for it.
    fn table_now(&mut self, name: &str) -> Result<Arc<Table>, Refusal> {
        let place = self.provided.tables.iter().position(|(known, _)| known == name);
        let place = place.filter(|_| self.grants.looks_up(name));
        let Some((place, (_, live))) = place.and_then(|place| Some((place, self.provided.tables.get(place)?))) else {
            // Which of the two it is, is not the plugin's to know.
            return Err(denied(format_args!("the look-up table `{}`", shown(name))));
        };
        if let Some((_, table)) = self.tables.iter().find(|(asked, _)| *asked == place) {
            return Ok(Arc::clone(table));
        }
        let table = live.now();
        self.tables.push((place, Arc::clone(&table)));
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sluice_state::LiveTable;

    use super::super::Phase;
    use super::*;
    use crate::access::{Access, Grants};
    use crate::capability::Provided;
    use crate::limits::Limits;

    fn value(host: &mut Host) -> Vec<u8> {
        let keys = Texts { ends: vec![1], bytes: b"x".to_vec() };
        tables::Host::look_up(host, "t".to_owned(), "value".to_owned(), keys).unwrap().values.bytes
    }

    #[test]
    fn a_table_stays_the_same_within_a_call() {
        let live = Arc::new(LiveTable::new(Table::of_pairs([("x", "old")]).unwrap()));
        let mut grants = Grants::default();
        grants.narrow(&Access { read: vec!["tables:t".to_owned()], write: Vec::new() }).unwrap();
        let mut host = Host::new(Limits::default(), Arc::new(grants));
        host.phase = Phase::Serving;
        let mut provided = Provided::new(None);
        provided.grant(Capability::Tables);
        provided.tables.push(("t".to_owned(), Arc::clone(&live)));
        host.provided = Arc::new(provided);
        assert_eq!(value(&mut host), b"old");
        live.replace(Table::of_pairs([("x", "new")]).unwrap()).unwrap();
        assert_eq!(value(&mut host), b"old");
        host.begin(0);
        assert_eq!(value(&mut host), b"new");
    }
}
