//! The ring: one camera's circular log on flash. Pure, over the `Flash` trait.
