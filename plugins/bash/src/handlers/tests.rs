use deployx_plugin_sdk::table::Table;

use crate::tables;

fn table() -> Table {
    tables::embedded().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_table_is_valid_and_names_handlers_that_exist() {
    let table = table();
    if let Err(error) = table.check(&super::all()) {
        panic!("{error}");
    }
    assert!(table.names().count() >= 250);
}
