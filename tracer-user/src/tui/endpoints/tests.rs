use crate::{
    store::{Store, StoreOptions, endpoints},
    tui::{
        Effect,
        tests::{LARGE, SMALL, Stage, store_of, store_of_hang},
    },
};

#[test]
fn nothing() {
    crate::tui::tests::snapshots!("endpoints_empty", store_of("screen_empty", None), "2");
}
