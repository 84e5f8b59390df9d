//! The same test on every release of Debian.

/// Makes a test of each function for Debian 12 and for Debian 13.
macro_rules! on_both_releases {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        mod debian_12 {
            $(
                #[test]
                $(#[$meta])*
                fn $name() {
                    super::$name(testkit::machine::Release::Bookworm);
                }
            )*
        }

        mod debian_13 {
            $(
                #[test]
                $(#[$meta])*
                fn $name() {
                    super::$name(testkit::machine::Release::Trixie);
                }
            )*
        }
    };
}

pub(crate) use on_both_releases;
