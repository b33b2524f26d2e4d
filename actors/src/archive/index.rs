//! Full-text search over what is kept, in memory alone: on disk a list of words would tell what was
//! said.
//!
//! ```text
//! newest ......................... oldest      in the one order of the channel
//! |== in the index ==|- still to be read -|
//!                    ^ edge
//! ```
//!
//! It is built from the newest message to the oldest, in small steps. Until a step has reached it, a
//! message is behind the edge; what is stored meanwhile goes to the side that it belongs to. So what
//! is found before the edge is all that there is before the edge.

use std::collections::HashMap;

use rusqlite::{Connection, params};

/// Bytes of a search. Stops a pasted page from becoming a query.
const WORDS_BYTES_MAX: usize = 1024;
/// Words of a search; those after are ignored.
const WORDS_MAX: usize = 16;

/// A place in the order of a channel as the database has it: clock and row.
pub(super) type Place = (i64, i64);

/// The index of all channels that are open.
#[derive(Debug)]
pub(super) struct Index {
    db: Connection,
    /// By the channel's row: what is behind it is not read yet; `None`: all is.
    edges: HashMap<i64, Option<Place>>,
}

impl Index {
    pub(super) fn new() -> rusqlite::Result<Self> {
        let db = Connection::open_in_memory()?;
        db.set_prepared_statement_cache_capacity(64);
        Ok(Self { db, edges: HashMap::new() })
    }

    /// Begins to index a channel; everything is still to be read.
    pub(super) fn add_channel(&mut self, channel: i64) -> rusqlite::Result<()> {
        if self.edges.contains_key(&channel) {
            return Ok(());
        }
        // Contentless: the words are kept, the texts are not.
        self.db.execute_batch(&format!(
            "CREATE VIRTUAL TABLE words{channel} USING fts5(text, content='', contentless_delete=1,
             tokenize='unicode61 remove_diacritics 2')"
        ))?;
        self.edges.insert(channel, Some((i64::MAX, i64::MAX)));
        Ok(())
    }

    /// Takes a channel's words out of memory.
    pub(super) fn remove_channel(&mut self, channel: i64) -> rusqlite::Result<()> {
        match self.edges.remove(&channel) {
            None => Ok(()),
            Some(_) => self.db.execute_batch(&format!("DROP TABLE words{channel}")),
        }
    }

    /// The channels that are not read to the end, with where to go on.
    pub(super) fn unfinished(&self) -> Option<(i64, Place)> {
        self.edges.iter().find_map(|(channel, edge)| edge.map(|edge| (*channel, edge)))
    }

    /// Where the unread part of a channel begins.
    pub(super) fn edge(&self, channel: i64) -> Option<Place> {
        self.edges.get(&channel).copied().flatten()
    }

    /// Takes in what follows the edge; `edge` is the new one, `None` when that was all.
    pub(super) fn take_step(
        &mut self,
        channel: i64,
        mut texts: Vec<(i64, String)>,
        edge: Option<Place>,
    ) -> rusqlite::Result<()> {
        // SQLite gathers words for as long as rows ascend.
        texts.sort_unstable_by_key(|(row, _)| *row);
        self.insert(channel, &texts)?;
        self.edges.insert(channel, edge);
        Ok(())
    }

    /// Takes in what has just been stored, as far as no step is going to read it.
    pub(super) fn take_new(
        &mut self,
        channel: i64,
        stored: &[(Place, String)],
    ) -> rusqlite::Result<()> {
        let Some(edge) = self.edges.get(&channel) else { return Ok(()) };
        let before_edge = |place: &Place| edge.is_none_or(|edge| *place >= edge);
        let texts: Vec<_> = stored
            .iter()
            .filter(|(place, _)| before_edge(place))
            .map(|((_, row), text)| (*row, text.clone()))
            .collect();
        self.insert(channel, &texts)
    }

    fn insert(&mut self, channel: i64, texts: &[(i64, String)]) -> rusqlite::Result<()> {
        if texts.is_empty() {
            return Ok(());
        }
        let transaction = self.db.transaction()?;
        {
            let insert = format!("INSERT INTO words{channel} (rowid, text) VALUES (?, ?)");
            let mut insert = transaction.prepare_cached(&insert)?;
            for (row, text) in texts {
                insert.execute(params![row, spaced(text)])?;
            }
        }
        transaction.commit()
    }

    /// Forgets messages that are kept no longer; one that is not in the index is no error.
    pub(super) fn forget(&mut self, channel: i64, rows: &[i64]) -> rusqlite::Result<()> {
        if !self.edges.contains_key(&channel) || rows.is_empty() {
            return Ok(());
        }
        let transaction = self.db.transaction()?;
        {
            let delete = format!("DELETE FROM words{channel} WHERE rowid = ?");
            let mut delete = transaction.prepare_cached(&delete)?;
            for row in rows {
                delete.execute([row])?;
            }
        }
        transaction.commit()
    }

    /// The rows of a channel's messages that match, ascending.
    pub(super) fn find(&self, channel: i64, query: &Query) -> rusqlite::Result<Vec<i64>> {
        if !self.edges.contains_key(&channel) {
            return Ok(Vec::new());
        }
        let find = format!("SELECT rowid FROM words{channel} WHERE text MATCH ? ORDER BY rowid");
        let mut find = self.db.prepare_cached(&find)?;
        find.query_map([&query.0], |row| row.get(0))?.collect()
    }
}

/// What is searched for, as the index understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query(String);

impl Query {
    /// Reads what a person typed: all the words must be there, in any order; one that ends in `*` is
    /// a beginning. `None` when there is no word in it.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let ends = words.char_indices().map(|(at, char)| at + char.len_utf8());
        let end = ends.take_while(|end| *end <= WORDS_BYTES_MAX).last().unwrap_or(0);
        let terms = words[..end].split_whitespace().take(WORDS_MAX).filter_map(|word| {
            let (stem, star) = match word.trim_end_matches('*') {
                stem if stem.len() < word.len() => (stem, "*"),
                stem => (stem, ""),
            };
            // In quotes nothing is an operator; a word without letters would match nothing.
            let has_letter = stem.chars().any(char::is_alphanumeric);
            has_letter.then(|| format!("\"{}\"{star}", spaced(stem).replace('"', " ")))
        });
        let terms: Vec<String> = terms.collect();
        (!terms.is_empty()).then(|| Self(terms.join(" AND ")))
    }
}

/// The text with each letter on its own where a script puts no spaces between words: a word is then
/// found as its letters in a row.
fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if stands_alone(letter) {
            spaced.extend([' ', letter, ' ']);
        } else if letter != '\0' {
            spaced.push(letter);
        }
    }
    spaced
}

/// Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese.
const fn stands_alone(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> Index {
        let mut index = Index::new().unwrap();
        index.add_channel(1).unwrap();
        let texts = (1..).zip(texts).map(|(row, text)| (row, (*text).to_owned())).collect();
        index.take_step(1, texts, None).unwrap();
        index
    }

    #[track_caller]
    fn check(texts: &[&str], words: &str, expected: &[i64]) {
        let found = match Query::parse(words) {
            Some(query) => index(texts).find(1, &query).unwrap(),
            None => Vec::new(),
        };
        assert_eq!(found, expected, "{words}");
    }

    #[test]
    fn words_are_found_in_any_order_case_and_accent() {
        let texts = ["Meet me at the Café", "the cafe is closed", "coffee"];
        check(&texts, "cafe", &[1, 2]);
        check(&texts, "CAFÉ the", &[1, 2]);
        check(&texts, "closed cafe", &[2]);
        check(&texts, "caf", &[]);
    }

    #[test]
    fn a_star_asks_for_a_beginning() {
        let texts = ["lighthouse", "light", "delight"];
        check(&texts, "light", &[2]);
        check(&texts, "light*", &[1, 2]);
        check(&texts, "*", &[]);
    }

    #[test]
    fn words_of_other_scripts_are_found() {
        let texts = [
            "我们明天见面",
            "明日は晴れです",
            "Встречаемся завтра",
            "พรุ่งนี้เจอกัน",
            "नमस्ते दुनिया",
            "غدا",
        ];
        check(&texts, "明天", &[1]);
        check(&texts, "晴れ", &[2]);
        check(&texts, "明", &[1, 2]);
        check(&texts, "天明", &[]);
        check(&texts, "ЗАВТРА", &[3]);
        check(&texts, "встреч*", &[3]);
        check(&texts, "เจอ", &[4]);
        check(&texts, "दुनिया", &[5]);
        check(&texts, "غدا", &[6]);
    }

    #[test]
    fn nothing_typed_is_an_operator_or_an_error() {
        let texts = ["a AND b", "say \"hi\"", "x:y"];
        for words in [
            "",
            " ",
            "\"",
            "NOT",
            "AND",
            "a OR",
            "(a",
            "a)",
            "text:a",
            "^a",
            "a^2",
            "-",
            "a\0b",
            "\"\"\"a",
            "{a b}",
            "NEAR(a b)",
        ] {
            let Some(query) = Query::parse(words) else { continue };
            assert!(index(&texts).find(1, &query).is_ok(), "{words:?} as {query:?}");
        }
        check(&texts, "and", &[1]);
        check(&texts, "\"hi\"", &[2]);
        let long = "é".repeat(WORDS_BYTES_MAX);
        assert!(index(&texts).find(1, &Query::parse(&long).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn what_is_stored_behind_the_edge_is_left_to_the_step_that_reads_it() {
        let mut index = Index::new().unwrap();
        index.add_channel(1).unwrap();
        index.take_step(1, vec![(5, "five".into())], Some((50, 5))).unwrap();
        index.take_new(1, &[((60, 6), "new six".into()), ((40, 7), "new seven".into())]).unwrap();
        let new = Query::parse("new").unwrap();
        assert_eq!(index.find(1, &new).unwrap(), [6]);
        index.take_step(1, vec![(7, "new seven".into())], None).unwrap();
        assert_eq!(index.find(1, &new).unwrap(), [6, 7]);
        index.forget(1, &[6, 100]).unwrap();
        assert_eq!(index.find(1, &new).unwrap(), [7]);
    }
}
