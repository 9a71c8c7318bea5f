//! Tables against a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use sluice_spans::RefusalCode;

use super::super::{Format, Table};
use super::maxmind::{database, geneva};
use super::{MOST, found, keys};

proptest! {
    #[test]
    fn a_table_finds_what_a_map_finds(
        rows in proptest::collection::btree_map("[a-c]{0,3}", proptest::option::of("\\PC{0,4}"), 0..40),
        asked in proptest::collection::vec("[a-c]{0,3}", 0..40),
    ) {
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let wanted: Vec<_> = asked.iter().map(|&key| rows.get(key).cloned().flatten()).collect();
        // The first line brings the columns, whatever the others have.
        let all = std::iter::once((" ".to_owned(), Some(String::new()))).chain(rows.clone());
        let line = |(id, v): (String, Option<String>)| serde_json::json!({ "id": id, "v": v }).to_string();
        let text = all.map(line).collect::<Vec<_>>().join("\n");
        let table = Table::read(Format::JsonLines, text.as_bytes(), "id", MOST).unwrap();
        prop_assert_eq!(found(&table, "v", &asked), wanted);

        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["v", "id"]).unwrap();
        for (id, v) in &rows {
            writer.write_record([v.as_deref().unwrap_or_default(), id]).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let table = Table::read(Format::Csv, &text[..], "id", MOST).unwrap();
        let map: BTreeMap<_, _> = rows.into_iter().map(|(id, v)| (id, v.unwrap_or_default())).collect();
        let wanted: Vec<_> = asked.iter().map(|&key| map.get(key).cloned()).collect();
        prop_assert_eq!(found(&table, "v", &asked), wanted);
    }

    #[test]
    fn no_column_is_looked_for_whose_name_is_longer_than_any(name in "[.a0-]{1,8}", times in 0..400_usize) {
        let read = |format, bytes: &[u8]| Table::read(format, bytes, "id", MOST).unwrap();
        let tables = [
            read(Format::Csv, b"id,a\nx,1\n"),
            read(Format::JsonLines, b"{\"id\":\"x\",\"a\":1}"),
            read(Format::MaxMind, &database("Test", &geneva())),
        ];
        let column = name.repeat(times);
        for table in tables {
            let refused = table.look_up(&column, &keys(&["x", "130.0.0.1"]), MOST).err().map(|refusal| refusal.code);
            prop_assert_eq!(refused == Some(RefusalCode::Limit), column.len() > 1024, "{:?}", refused);
        }
    }

    #[test]
    fn whatever_a_file_holds_is_a_table_or_refused(bytes in any::<Vec<u8>>(), text in "[a\"{},:\\n]{0,40}") {
        for input in [bytes.as_slice(), text.as_bytes(), format!("id\n{text}").as_bytes()] {
            for format in [Format::Csv, Format::JsonLines, Format::MaxMind] {
                if let Ok(table) = Table::read(format, input, "id", 500) {
                    prop_assert!(table.bytes() <= 500);
                }
            }
        }
    }
}
