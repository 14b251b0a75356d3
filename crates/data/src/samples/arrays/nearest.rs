//! The name that was probably meant.

/// Names longer than this are not compared.
const LONGEST: usize = 128;

/// The one of `names` that `wanted` takes the fewest edits to, if these are at most half of it.
/// Upper and lower case are the same.
pub(super) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .filter(|name| name.len() <= LONGEST && wanted.len() <= LONGEST)
        .map(|name| (distance(wanted, name), name))
        .min_by_key(|&(edits, _)| edits)
        .filter(|&(edits, name)| 2 * edits <= wanted.chars().count().max(name.chars().count()))
        .map(|(_, name)| name)
}

/// Letters to insert, take out or replace (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (position, letter) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = position;
        let mut before = position + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(&right) {
            let here = (diagonal + usize::from(letter != *other)).min(*cell + 1).min(before + 1);
            diagonal = *cell;
            *cell = here;
            before = here;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_strangers_are_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let names = ["input_ids", "attention_mask"];
        assert_eq!(nearest("inputs_id", names), Some("input_ids"));
        assert_eq!(nearest("Attention_Mask", names), Some("attention_mask"));
        assert_eq!(nearest("x", names), None);
    }
}
