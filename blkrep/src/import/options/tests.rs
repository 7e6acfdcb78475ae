//! Placeholder for the tests of the table.
