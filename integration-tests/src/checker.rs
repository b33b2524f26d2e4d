//! Holds what nodes have kept against what was said: the promise of `docs/delivery.md` as a check.

use std::collections::{BTreeMap, BTreeSet};

/// A message as a node's history or events show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The message's id.
    pub id: String,
    /// Whose it is: the id of a peer.
    pub author: String,
    /// What it says.
    pub text: String,
}

#[derive(Debug)]
struct Said {
    author: String,
    text: String,
    is_acknowledged: bool,
}

/// What was said in one channel, by whom, and whether the author's node has said that it is kept.
#[derive(Debug, Default)]
pub struct Checker {
    said: BTreeMap<String, Said>,
    /// Ids of each author, in the order in which they were said.
    order: BTreeMap<String, Vec<String>>,
}

impl Checker {
    /// Notes that `author` was asked to say `text` under an id of ours.
    pub fn says(&mut self, author: &str, id: &str, text: &str) {
        let said =
            Said { author: author.to_owned(), text: text.to_owned(), is_acknowledged: false };
        if self.said.insert(id.to_owned(), said).is_none() {
            self.order.entry(author.to_owned()).or_default().push(id.to_owned());
        }
    }

    /// Notes that the author's node has answered: from now on it must never be lost.
    pub fn acknowledged(&mut self, id: &str) {
        if let Some(said) = self.said.get_mut(id) {
            said.is_acknowledged = true;
        }
    }

    /// How many messages must not be lost.
    #[must_use]
    pub fn acknowledged_count(&self) -> usize {
        self.said.values().filter(|said| said.is_acknowledged).count()
    }

    /// Checks the whole history of one node.
    ///
    /// # Errors
    ///
    /// In words, what is lost, doubled, invented, altered, or out of its author's order.
    pub fn check(&self, history: &[Shown]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for shown in history {
            let Shown { id, author, text } = shown;
            if !seen.insert(id.as_str()) {
                return Err(format!("twice: {shown:?}"));
            }
            let said = self.said.get(id).ok_or_else(|| format!("nobody said it: {shown:?}"))?;
            if (&said.author, &said.text) != (author, text) {
                return Err(format!("{shown:?} is shown, but {said:?} was said"));
            }
            let at = self.order[author].iter().position(|it| it == id);
            let at = at.ok_or_else(|| format!("not its author's: {shown:?}"))?;
            if last.insert(author, at).is_some_and(|before| before > at) {
                return Err(format!("before an earlier one of its author: {shown:?}"));
            }
        }
        let lost =
            |(id, said): &(&String, &Said)| said.is_acknowledged && !seen.contains(id.as_str());
        match self.said.iter().find(lost) {
            Some((id, said)) => Err(format!("lost: {id} {said:?}")),
            None => Ok(()),
        }
    }

    /// Checks the histories of all nodes, and that they are one.
    ///
    /// # Errors
    ///
    /// As [`Checker::check`], with the node's name; or where two of them differ.
    pub fn check_all(&self, histories: &[(String, Vec<Shown>)]) -> Result<(), String> {
        for (name, history) in histories {
            self.check(history).map_err(|error| format!("{name}: {error}"))?;
        }
        let Some(((first, expected), others)) = histories.split_first() else { return Ok(()) };
        for (name, history) in others {
            let same = expected.iter().zip(history).take_while(|(a, b)| a == b).count();
            if same < expected.len().max(history.len()) {
                let (a, b) = (expected.get(same), history.get(same));
                return Err(format!("at {same} {first} has {a:?}, and {name} has {b:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: &str, author: &str) -> Shown {
        Shown { id: id.into(), author: author.into(), text: format!("text of {id}") }
    }

    fn checker() -> Checker {
        let mut checker = Checker::default();
        for (author, id) in [("alice", "1"), ("alice", "2"), ("bob", "3")] {
            checker.says(author, id, &format!("text of {id}"));
        }
        checker.acknowledged("1");
        checker.acknowledged("3");
        checker
    }

    #[track_caller]
    fn check_fails(history: &[Shown], words: &str) {
        let error = checker().check(history).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }

    #[test]
    fn what_was_acknowledged_must_be_there_once_and_as_it_was_said() {
        let (one, two, three) = (shown("1", "alice"), shown("2", "alice"), shown("3", "bob"));
        assert_eq!(checker().acknowledged_count(), 2);
        assert_eq!(checker().check(&[one.clone(), three.clone()]), Ok(()));
        assert_eq!(checker().check(&[three.clone(), one.clone(), two.clone()]), Ok(()));
        check_fails(&[one.clone(), two.clone()], "lost: 3");
        check_fails(&[one.clone(), three.clone(), one.clone()], "twice");
        check_fails(&[two.clone(), one.clone(), three.clone()], "before an earlier one");
        check_fails(&[one.clone(), three.clone(), shown("4", "bob")], "nobody said it");
        check_fails(&[shown("1", "bob"), three.clone()], "Shown");
        let altered = Shown { text: "other".into(), ..one };
        check_fails(&[altered, three], "Shown");
    }

    #[test]
    fn all_must_have_the_same_in_the_same_order() {
        let (one, three) = (shown("1", "alice"), shown("3", "bob"));
        let of = |name: &str, all: &[&Shown]| {
            (name.to_owned(), all.iter().copied().cloned().collect::<Vec<_>>())
        };
        let checker = checker();
        let same = [of("a", &[&one, &three]), of("b", &[&one, &three])];
        assert_eq!(checker.check_all(&same), Ok(()));
        let other = [of("a", &[&one, &three]), of("b", &[&three, &one])];
        assert!(checker.check_all(&other).unwrap_err().starts_with("at 0 a has"));
        let lost = [of("a", &[&one, &three]), of("b", &[&one])];
        assert!(checker.check_all(&lost).unwrap_err().starts_with("b: lost"));
    }
}
