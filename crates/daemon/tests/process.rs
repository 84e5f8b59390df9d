//! Ring 4: real processes, with a socket in systemd's place.

#[cfg(test)]
mod process {
    pub(crate) mod harness;
    mod life;
    mod refusals;
    mod socket;
}
