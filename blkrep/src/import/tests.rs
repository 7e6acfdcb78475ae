//! Placeholder for the tests of the import.
