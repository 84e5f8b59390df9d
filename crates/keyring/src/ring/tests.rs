//! Ring 1: what opens and what does not.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::key::Scope;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn scopes(list: &[Scope]) -> Scopes {
    Scopes::new(list.iter().copied()).unwrap()
}

fn ring_with_one(expires: Option<Timestamp>) -> (Ring, Minted) {
    let mut ring = Ring::default();
    let label = "a test".parse().unwrap();
    let minted = ring.mint(label, scopes(&[Scope::Read]), expires, NOW).unwrap();
    (ring, minted)
}

#[test]
fn a_minted_key_opens_and_its_record_holds_no_secret() {
    let (ring, minted) = ring_with_one(None);
    assert_eq!(ring.check(minted.expose(), NOW).unwrap().id, minted.id);
    let secret = minted.expose().rsplit_once('_').unwrap().1;
    let file = serde_json::to_string(&ring).unwrap();
    assert!(!file.contains(secret));
    assert!(!format!("{minted:?}").contains(secret));
}

#[test]
fn another_secret_with_a_known_id_is_refused() {
    let (ring, minted) = ring_with_one(None);
    let mut forged = minted.expose().to_owned();
    let last = if forged.ends_with('A') { 'E' } else { 'A' };
    forged.pop();
    forged.push(last);
    assert_eq!(ring.check(&forged, NOW), Err(Rejection::Unknown));
}

#[test]
fn a_key_expires_at_its_moment() {
    let (ring, minted) = ring_with_one(Some(NOW));
    assert!(ring.check(minted.expose(), NOW - SignedDuration::from_nanos(1)).is_ok());
    assert_eq!(ring.check(minted.expose(), NOW), Err(Rejection::Expired));
}

#[test]
fn what_is_no_key_is_malformed() {
    let (ring, minted) = ring_with_one(None);
    let text = minted.expose();
    for wrong in
        ["", "mpk_", "mpk__", &text[..text.len() - 1], &format!("{text}A"), &text.to_uppercase()]
    {
        assert_eq!(ring.check(wrong, NOW), Err(Rejection::Malformed), "{wrong:?}");
    }
}

#[test]
fn scopes_are_what_they_say_and_admin_is_all() {
    assert!(!scopes(&[Scope::Write]).allow(Scope::Read));
    assert!(!scopes(&[Scope::Read, Scope::Write]).allow(Scope::Admin));
    assert!(scopes(&[Scope::Admin]).allow(Scope::Read));
    assert!(Scopes::new([]).is_none());
}

#[test]
fn a_key_is_revoked_by_any_unique_start_of_its_id() {
    let (mut ring, first) = ring_with_one(None);
    let label: Label = "another".parse().unwrap();
    let second = ring.mint(label, scopes(&[Scope::Admin]), None, NOW).unwrap();
    assert_eq!(ring.revoke(""), Err(AmbiguousError::None(String::new())));
    assert_eq!(ring.revoke("mpk_"), Err(AmbiguousError::None("mpk_".to_owned())));
    let revoked = ring.revoke(&format!("mpk_{}", first.id)).unwrap();
    assert_eq!(revoked.id, first.id);
    assert_eq!(ring.check(first.expose(), NOW), Err(Rejection::Unknown));
    assert!(ring.check(second.expose(), NOW).is_ok());
    ring.revoke(&second.id.to_string()[..3]).unwrap();
    assert!(ring.is_empty());
}

proptest! {
    #[test]
    fn every_key_text_names_its_id(id: [u8; 6], secret: [u8; 32]) {
        let minted = Minted::from_bytes(id, secret);
        prop_assert_eq!(key::id_of(minted.expose()), Some(minted.id));
        prop_assert_eq!(minted.expose().len(), 4 + 12 + 1 + 43);
    }

    #[test]
    fn no_text_panics_or_opens(text in "\\PC{0,80}|mpk_[0-9a-f]{12}_[-_A-Za-z0-9]{43}") {
        let (ring, _) = ring_with_one(None);
        prop_assert!(ring.check(&text, NOW).is_err());
    }
}
