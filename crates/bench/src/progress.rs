//! Who watches a run.

/// Is told how far a run is. Called often; must return at once.
pub trait Progress: Send + Sync {
    /// Something of so many steps begins.
    fn begin(&self, what: &str, steps: u64);
    /// So many steps of it are done.
    fn at(&self, steps: u64);
}
