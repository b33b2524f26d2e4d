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
//!
//! Its size is bounded: where it is full, what is older is not searched. What is said after that still
//! comes in, until it is much too large, and is built anew from the newest message.

use std::collections::HashMap;

use rusqlite::{Connection, params};

/// Bytes of a search. Stops a pasted page from becoming a query.
const WORDS_BYTES_MAX: usize = 1024;
/// Words of a search; those after are ignored.
const WORDS_MAX: usize = 16;
/// Bytes of the words of all channels: some two million messages. Larger: more memory, and older
/// messages are found. A guess.
const INDEX_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A place in the order of a channel as the database has it: clock and row.
pub(super) type Place = (i64, i64);

/// The index of all channels that are open.
#[derive(Debug)]
pub(super) struct Index {
    db: Connection,
    channels: HashMap<i64, Indexed>,
    bytes_max: u64,
    is_full: bool,
}

/// How much of a channel is in the index.
#[derive(Debug, Clone, Copy)]
struct Indexed {
    /// What is behind it is not read yet; `None`: all is.
    edge: Option<Place>,
    /// Messages that were read to get there.
    read: usize,
}

impl Indexed {
    const NOTHING: Self = Self { edge: Some((i64::MAX, i64::MAX)), read: 0 };
}

impl Index {
    pub(super) fn new() -> rusqlite::Result<Self> {
        Self::bounded(INDEX_BYTES_MAX)
    }

    pub(super) fn bounded(bytes_max: u64) -> rusqlite::Result<Self> {
        let db = Connection::open_in_memory()?;
        db.set_prepared_statement_cache_capacity(64);
        Ok(Self { db, channels: HashMap::new(), bytes_max, is_full: false })
    }

    /// Begins to index a channel; everything is still to be read.
    pub(super) fn add_channel(&mut self, channel: i64) -> rusqlite::Result<()> {
        if self.channels.contains_key(&channel) {
            return Ok(());
        }
        // Contentless: the words are kept, the texts are not.
        self.db.execute_batch(&format!(
            "CREATE VIRTUAL TABLE words{channel} USING fts5(text, content='', contentless_delete=1,
             tokenize='unicode61 remove_diacritics 2')"
        ))?;
        self.channels.insert(channel, Indexed::NOTHING);
        Ok(())
    }

    /// Takes a channel's words out of memory.
    pub(super) fn remove_channel(&mut self, channel: i64) -> rusqlite::Result<()> {
        if self.channels.remove(&channel).is_some() {
            self.db.execute_batch(&format!("DROP TABLE words{channel}"))?;
            self.is_full = self.bytes()? > self.bytes_max;
        }
        Ok(())
    }

    /// The channel of which least was read that is not read to the end, and where to go on; `None` as
    /// well when the index is full.
    pub(super) fn unfinished(&self) -> Option<(i64, Place)> {
        let unread =
            |(channel, indexed): (&i64, &Indexed)| Some((indexed.read, *channel, indexed.edge?));
        let next = self.channels.iter().filter_map(unread).min()?;
        (!self.is_full).then_some((next.1, next.2))
    }

    /// Where the unread part of a channel begins.
    pub(super) fn edge(&self, channel: i64) -> Option<Place> {
        self.channels.get(&channel).and_then(|indexed| indexed.edge)
    }

    /// Whether what is behind the edges stays unread.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
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
        if let Some(indexed) = self.channels.get_mut(&channel) {
            indexed.edge = edge;
            indexed.read += texts.len();
        }
        self.is_full = self.bytes()? > self.bytes_max;
        Ok(())
    }

    /// Takes in what has just been stored, as far as no step is going to read it; says whether the
    /// index was given up and is to be built anew.
    pub(super) fn take_new(
        &mut self,
        channel: i64,
        stored: &[(Place, String)],
    ) -> rusqlite::Result<bool> {
        let Some(Indexed { edge, .. }) = self.channels.get(&channel).copied() else {
            return Ok(false);
        };
        let before_edge = |place: &Place| edge.is_none_or(|edge| *place >= edge);
        let texts: Vec<_> = stored
            .iter()
            .filter(|(place, _)| before_edge(place))
            .map(|((_, row), text)| (*row, text.clone()))
            .collect();
        self.insert(channel, &texts)?;
        let is_too_large = self.bytes()? > self.bytes_max + self.bytes_max / 4;
        if is_too_large {
            self.begin_anew()?;
        }
        Ok(is_too_large)
    }

    fn begin_anew(&mut self) -> rusqlite::Result<()> {
        let mut new = Self::bounded(self.bytes_max)?;
        self.channels.keys().try_for_each(|channel| new.add_channel(*channel))?;
        *self = new;
        Ok(())
    }

    /// What it takes of memory.
    fn bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma: &str| -> rusqlite::Result<u64> {
            let value: i64 = self.db.pragma_query_value(None, pragma, |row| row.get(0))?;
            Ok(u64::try_from(value).unwrap_or(0))
        };
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(pages * number("page_size")?)
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
        if !self.channels.contains_key(&channel) || rows.is_empty() {
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
        if !self.channels.contains_key(&channel) {
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
        let longest = WORDS_BYTES_MAX.min(words.len());
        let end = (0..=longest).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
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

    #[test]
    fn an_index_is_bounded_shared_by_channels_and_knows_what_it_has_not_read() {
        let mut index = Index::bounded(200_000).unwrap();
        for channel in [1, 2] {
            index.add_channel(channel).unwrap();
        }
        let texts = |channel: i64, from: i64| -> Vec<(i64, String)> {
            (from..from + 500).map(|row| (row, format!("old{channel}x{row} word"))).collect()
        };
        let mut steps = Vec::new();
        while let Some((channel, edge)) = index.unfinished() {
            let from = if edge.0 == i64::MAX { 0 } else { edge.1 };
            index.take_step(channel, texts(channel, from), Some((1, from + 500))).unwrap();
            steps.push(channel);
            assert!(steps.len() < 1000);
        }
        assert!(index.is_full() && index.bytes().unwrap() < 300_000);
        let turns = [1, 2].map(|channel| steps.iter().filter(|it| **it == channel).count());
        assert!(turns[0].abs_diff(turns[1]) <= 1 && turns[0] > 1, "{turns:?}");
        // What comes new is found all the same.
        let mut row = 1_000_000;
        let mut is_anew = false;
        while !is_anew {
            let new: Vec<_> = (row..row + 100).map(|row| ((2, row), format!("new{row}"))).collect();
            is_anew = index.take_new(1, &new).unwrap();
            let newest = Query::parse(&format!("new{}", row + 99)).unwrap();
            assert_eq!(index.find(1, &newest).unwrap().len(), usize::from(!is_anew));
            row += 100;
            assert!(row < 2_000_000);
        }
        assert!(index.bytes().unwrap() < 100_000 && !index.is_full());
        assert!(index.unfinished().is_some_and(|(_, edge)| edge.0 == i64::MAX));
        index.remove_channel(1).unwrap();
        index.remove_channel(2).unwrap();
        assert_eq!(index.unfinished(), None);
    }
}
