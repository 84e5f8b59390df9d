//! Holds nothing: the suite's tests are in `it/`.
