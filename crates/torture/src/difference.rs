//! How two answers to the same question differ. Pure.

/// Ids shown that only one answer has.
const SHOWN: usize = 5;

/// Says how the ids that storage and gateway returned differ, in the order of the answers.
#[must_use]
pub fn between(storage: &[u64], gateway: &[u64]) -> String {
    let differs = storage.iter().zip(gateway).position(|(one, other)| one != other);
    let at = differs.unwrap_or(storage.len().min(gateway.len()));
    let id = |ids: &[u64]| ids.get(at).map_or("none".to_owned(), u64::to_string);
    if storage == gateway {
        return "the same when they were asked once more".to_owned();
    }
    format!(
        "row {} is {} of storage and {} of the gateway; ids of storage alone: {}, of the gateway \
         alone: {}",
        at + 1,
        id(storage),
        id(gateway),
        only(storage, gateway),
        only(gateway, storage)
    )
}

/// What of one answer is not in the other: how many ids, and the first.
fn only(one: &[u64], other: &[u64]) -> String {
    let mut known = other.to_vec();
    known.sort_unstable();
    let mut alone = one.iter().filter(|id| known.binary_search(id).is_err()).peekable();
    if alone.peek().is_none() {
        return "none".to_owned();
    }
    let (mut count, mut shown) = (0, Vec::new());
    for id in alone {
        count += 1;
        if shown.len() < SHOWN {
            shown.push(id.to_string());
        }
    }
    let more = if count > SHOWN { ", …" } else { "" };
    format!("{count} ({}{more})", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_answer_has_is_named() {
        let text = between(&[1, 2, 3], &[1, 3]);
        assert!(text.starts_with("row 2 is 2 of storage and 3 of the gateway; "), "{text}");
        assert!(
            text.ends_with("; ids of storage alone: 1 (2), of the gateway alone: none"),
            "{text}"
        );
        let text = between(&[1], &[1, 2, 3, 4, 5, 6, 7]);
        assert!(text.contains("row 2 is none of storage and 2 of the gateway"), "{text}");
        assert!(text.ends_with("of the gateway alone: 6 (2, 3, 4, 5, 6, …)"), "{text}");
    }

    #[test]
    fn another_order_and_a_row_that_comes_twice_are_differences() {
        let text = between(&[1, 2], &[2, 1]);
        assert!(text.starts_with("row 1 is 1 of storage and 2 of the gateway; "), "{text}");
        let text = between(&[1, 1, 2], &[1, 2]);
        assert!(text.starts_with("row 2 is 1 of storage and 2 of the gateway; "), "{text}");
    }

    #[test]
    fn what_is_the_same_by_now_is_called_so() {
        assert_eq!(between(&[1, 2], &[1, 2]), "the same when they were asked once more");
    }
}
