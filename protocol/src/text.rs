//! Text of peers made safe for a terminal.
//!
//! A message is anybody's bytes. Shown as they are, control characters move the cursor, change
//! colours and titles or answer for the keyboard, and bidirectional overrides make one name look
//! like another. They are dropped or shown as visible marks; what is left cannot leave its line.

use std::borrow::Cow;

/// Shown in place of a character that must not reach the terminal.
const REPLACEMENT: char = '\u{fffd}';

/// What a message may look like on a terminal: line breaks become `⏎`, tabs a space, control
/// characters `U+FFFD`; invisible and direction-changing characters are dropped.
#[must_use]
pub fn escape_for_terminal(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => safe.push('⏎'),
            '\t' => safe.push(' '),
            other if is_plain(other) => safe.push(other),
            other if other.is_control() => safe.push(REPLACEMENT),
            _ => {}
        }
    }
    Cow::Owned(safe)
}

/// What a name, of a person or a channel, looks like on a terminal: as [`escape_for_terminal`] has
/// it, and such that it cannot end before its end. A `:` becomes U+A789 and brackets U+2772 and
/// U+2773, so that a name such as `alice: yes` or `team] alice` puts no words into another's mouth;
/// spaces come one at a time, so that none makes a column of its own.
#[must_use]
pub fn escape_name_for_terminal(name: &str) -> String {
    let safe = escape_for_terminal(name);
    let mut shown = String::with_capacity(safe.len());
    for word in safe.split_whitespace() {
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.extend(word.chars().map(|character| match character {
            ':' => '\u{a789}',
            '[' => '\u{2772}',
            ']' => '\u{2773}',
            other => other,
        }));
    }
    shown
}

/// What two names have in common that look the same to a person: case, spaces, what is lost where a
/// name is shown, and what joins or varies characters and takes no place of its own do not count.
#[must_use]
pub fn look_of_name(name: &str) -> String {
    let seen: String = name.chars().filter(|character| !is_unseen(*character)).collect();
    escape_name_for_terminal(&seen).to_lowercase()
}

/// A character that may stand in a name, as some scripts and pictures need it, and that nobody sees
/// elsewhere.
const fn is_unseen(character: char) -> bool {
    matches!(character,
        '\u{34f}'                     // combining grapheme joiner
        | '\u{115f}'..='\u{1160}'     // Hangul fillers
        | '\u{17b4}'..='\u{17b5}'     // Khmer inherent vowels
        | '\u{180b}'..='\u{180f}'     // Mongolian variation selectors
        | '\u{200d}'                  // zero width joiner
        | '\u{2800}'                  // empty Braille pattern
        | '\u{3164}' | '\u{ffa0}'     // Hangul fillers
        | '\u{fe00}'..='\u{fe0f}'     // variation selectors
        | '\u{e0100}'..='\u{e01ef}'   // more of them
    )
}

/// A character that takes its place on the line and does nothing else.
const fn is_plain(character: char) -> bool {
    !matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' // C0, DEL, C1: cursor, colours, escape sequences
        | '\u{ad}'                    // soft hyphen: invisible
        | '\u{61c}'                   // Arabic letter mark
        | '\u{180e}'                  // Mongolian vowel separator: invisible
        | '\u{200b}'..='\u{200c}'     // zero width space and non-joiner: two names that look alike
        | '\u{200e}'..='\u{200f}'     // left-to-right and right-to-left mark
        | '\u{2028}'..='\u{202e}'     // line and paragraph separators, embeddings, overrides
        | '\u{2060}'..='\u{206f}'     // word joiner, isolates, deprecated format characters
        | '\u{feff}'                  // byte order mark
        | '\u{fff9}'..='\u{fffb}'     // interlinear annotation
        | '\u{e0000}'..='\u{e007f}'   // tags: text that nobody sees
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(escape_for_terminal(input), expected);
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in ["hello", "Grüße, Ωmega", "שלום", "👩‍👩‍👧 family", "नमस्ते"]
        {
            assert!(matches!(escape_for_terminal(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn escape_sequences_lose_their_escape() {
        check("\u{1b}[31mred\u{1b}[0m", "\u{fffd}[31mred\u{fffd}[0m");
        check("\u{9b}2J", "\u{fffd}2J");
        check("bell\u{7}", "bell\u{fffd}");
    }

    #[test]
    fn a_message_stays_on_its_line() {
        check("one\r\ntwo\nthree\rfour\u{2028}five", "one⏎two⏎three⏎four⏎five");
        check("a\tb", "a b");
    }

    #[test]
    fn a_name_does_not_end_before_its_end() {
        let check =
            |name: &str, shown: &str| assert_eq!(escape_name_for_terminal(name), shown, "{name}");
        check("Ann-Marie O'Neil", "Ann-Marie O'Neil");
        check("alice: yes", "alice\u{a789} yes");
        check("team] alice", "team\u{2773} alice");
        check("[private] bob", "\u{2772}private\u{2773} bob");
        check(" bob      verified\u{a0}\u{2003}x\n", "bob verified x\u{23ce}");
    }

    #[test]
    fn names_that_look_the_same_have_one_look() {
        for other in
            [" ALICE ", "al\u{200d}ice", "alice\u{fe0f}", "a\u{200c}lice", "alice \u{3164}"]
        {
            assert_eq!(look_of_name(other), look_of_name("alice"), "{other:?}");
        }
        assert_eq!(look_of_name("a:b"), look_of_name("a\u{a789}b"));
        assert_ne!(look_of_name("alice"), look_of_name("alicia"));
    }

    #[test]
    fn direction_changes_and_invisible_characters_are_dropped() {
        check("al\u{202e}ice\u{2069}", "alice");
        check("a\u{200b}lice\u{feff}\u{e0041}", "alice");
    }
}
