//! pidtap.
fn main() {}
