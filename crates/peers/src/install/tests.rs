//! Ring 1: what is named here is what the package managers are asked for.

use super::{Means, PEERS, programs};

#[test]
fn every_peer_is_asked_for_in_the_version_that_the_table_names() {
    let read = |file: &str| std::fs::read_to_string(programs().join(file)).unwrap();
    let (cargo, npm, pip) =
        (read("rust/Cargo.toml"), read("node/package.json"), read("python/requirements.txt"));
    for peer in PEERS {
        let version = peer.version;
        match peer.means {
            Means::Cargo(feature) => {
                assert!(cargo.contains(&format!("\n{feature} = [")), "{feature}");
                let name = if feature == "nautilus" { "nautilus-model" } else { peer.name };
                let wanted = format!("{name} = {{ version = \"={version}\"");
                assert!(cargo.contains(&wanted), "{wanted}");
            }
            Means::Npm => assert!(npm.contains(&format!("\"{}\": \"{version}\"", peer.name))),
            Means::Pip => assert!(pip.contains(&format!("{}=={version}\n", peer.name))),
        }
    }
}
