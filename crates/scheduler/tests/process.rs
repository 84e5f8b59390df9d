//! Ring 4: the program itself.

#[cfg(test)]
mod process {
    mod kill;
}
