//! pidtap's project commands.
fn main() {}
