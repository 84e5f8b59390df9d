//! Ring 4: the program itself.

#[cfg(test)]
mod process {
    mod harness;
    mod jump;
    mod kill;
    mod lease;
    mod missed;
}
