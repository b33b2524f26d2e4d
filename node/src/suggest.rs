//! The nearest right word for a wrong one.

/// How alike two words must be, 0 to 1, for one to be offered for the other. A guess.
const SIMILARITY_MIN: f64 = 0.7;

/// The candidate most like `word`, if any is like it at all.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let likeness = |candidate| (strsim::jaro_winkler(word, candidate), candidate);
    let best = candidates.into_iter().map(likeness).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(similarity, _)| *similarity >= SIMILARITY_MIN).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_right_one_and_nonsense_finds_none() {
        let words = ["help", "peers", "quit"];
        assert_eq!(nearest("quti", words), Some("quit"));
        assert_eq!(nearest("peer", words), Some("peers"));
        assert_eq!(nearest("zzz", words), None);
        assert_eq!(nearest("quit", []), None);
    }
}
