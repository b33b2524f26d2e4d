//! What a typed line means.

use crate::suggest;

/// Commands, with what follows them and what they do.
pub(crate) const COMMANDS: [(&str, &str, &str); 17] = [
    ("/msg", "WHO TEXT", "say something to one person alone"),
    ("/to", "CHANNEL", "say what follows in another channel"),
    ("/invite", "WHO", "print the line that lets a contact into this closed channel"),
    ("/members", "", "who is known to be in this channel, and who was removed"),
    ("/remove", "WHO", "go on without somebody in this closed channel, with new keys"),
    ("/peers", "", "who is linked, and with whom"),
    ("/history", "[NUMBER]", "what was said here before, as far as it is kept"),
    ("/search", "WORDS", "messages with all the words, in all open channels"),
    ("/contacts", "[WHO]", "the people in the contact book, or all about one"),
    ("/add", "WHO|CARD [NAME]", "add somebody from a channel or by card"),
    ("/verify", "WHO", "show the safety words to compare"),
    ("/rename", "WHO NAME", "call a contact something else"),
    ("/block", "WHO", "refuse every link with somebody"),
    ("/forget", "WHO", "forget a contact, also that it was blocked"),
    ("/help", "", "this list"),
    ("/quit", "", "leave at once"),
    ("//", "TEXT", "a message that begins with a slash"),
];

/// Messages that `/history` shows, if it is not said how many.
const HISTORY: u64 = 20;

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Nothing.
    Nothing,
    /// A message for the present channel.
    Say(String),
    /// A message for one person.
    Msg { who: String, text: String },
    /// Another present channel.
    To(String),
    /// A ticket for the present channel.
    Invite(String),
    /// Who is known to be in the present channel.
    Members,
    /// The present channel goes on without somebody.
    Remove(String),
    /// Who is there.
    Peers,
    /// So many messages of before.
    History(u64),
    /// Messages with these words.
    Search(String),
    /// Something about a person.
    Contact(ContactLine),
    /// What can be typed.
    Help,
    /// The end.
    Quit,
    /// Makes an actor fail; only where faults can be injected.
    #[cfg(feature = "fault-injection")]
    Panic(String),
    /// Not understood, in words.
    Wrong(String),
}

/// What a line wants of the contact book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContactLine {
    /// All contacts.
    List,
    /// All about one.
    Show(String),
    /// Add somebody, by card or as seen in a channel.
    Add { who: String, name: Option<String> },
    /// The safety words, or the answer to them: `yes`, or what the other person has.
    Verify { who: String, answer: Option<String> },
    /// Another name.
    Rename { who: String, name: String },
    /// No link any more.
    Block(String),
    /// Out of the book.
    Forget(String),
}

/// Commands that begin with somebody's name.
const NAMING: [&str; 7] = ["/msg", "/contacts", "/add", "/verify", "/rename", "/block", "/forget"];

/// Reads a line.
pub(crate) fn read(line: &str) -> Typed {
    if line.trim().is_empty() {
        return Typed::Nothing;
    }
    if let Some(text) = line.strip_prefix("//") {
        return Typed::Say(format!("/{text}"));
    }
    if !line.starts_with('/') {
        return Typed::Say(line.to_owned());
    }
    let (command, rest) = split(line);
    match command {
        "/msg" => match split_name(rest) {
            ("", _) | (_, "") => {
                let text = "say whom and what: /msg WHO TEXT, or /msg \"WHO WITH SPACES\" TEXT";
                Typed::Wrong(text.into())
            }
            (who, text) => Typed::Msg { who: who.to_owned(), text: text.to_owned() },
        },
        "/to" if rest.is_empty() => Typed::Wrong("say which channel: /to CHANNEL".into()),
        "/to" => Typed::To(rest.to_owned()),
        "/invite" => match split_name(rest) {
            ("", _) => Typed::Wrong("say whom: /invite WHO".into()),
            (who, _) => Typed::Invite(who.to_owned()),
        },
        "/members" => Typed::Members,
        "/remove" => match split_name(rest) {
            ("", _) => Typed::Wrong("say whom: /remove WHO".into()),
            (who, _) => Typed::Remove(who.to_owned()),
        },
        "/peers" => Typed::Peers,
        "/history" if rest.is_empty() => Typed::History(HISTORY),
        "/history" => match rest.trim().parse() {
            Ok(number) => Typed::History(number),
            Err(_) => Typed::Wrong("say how many messages: /history 50".into()),
        },
        "/search" if rest.trim().is_empty() => Typed::Wrong("say for what: /search WORDS".into()),
        "/search" => Typed::Search(rest.to_owned()),
        "/contacts" | "/add" | "/verify" | "/rename" | "/block" | "/forget" => {
            read_contact(command, rest)
        }
        "/help" => Typed::Help,
        "/quit" => Typed::Quit,
        #[cfg(feature = "fault-injection")]
        "/panic" => Typed::Panic(rest.to_owned()),
        unknown => {
            let known = COMMANDS.iter().map(|(command, ..)| *command);
            let hint = suggest::nearest(unknown, known)
                .map(|nearest| format!("; did you mean {nearest}?"))
                .unwrap_or_default();
            Typed::Wrong(format!(
                "{unknown} is not a command{hint} (/help lists them; // begins a message with /)"
            ))
        }
    }
}

fn read_contact(command: &str, rest: &str) -> Typed {
    let (who, rest) = split_name(rest);
    let some = |text: &str| (!text.is_empty()).then(|| unquoted(text).to_owned());
    let who = who.to_owned();
    Typed::Contact(match command {
        "/contacts" if who.is_empty() => ContactLine::List,
        _ if who.is_empty() => return Typed::Wrong(format!("say whom: {command} WHO")),
        "/contacts" => ContactLine::Show(who),
        "/add" => ContactLine::Add { who, name: some(rest) },
        "/verify" => ContactLine::Verify { who, answer: some(rest) },
        "/rename" => match some(rest) {
            Some(name) => ContactLine::Rename { who, name },
            None => return Typed::Wrong("say the new name: /rename WHO NAME".into()),
        },
        "/block" => ContactLine::Block(who),
        _ => ContactLine::Forget(who),
    })
}

/// A name that may stand in quotation marks.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The first word, and what follows it.
fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

/// The first name, which may stand in quotation marks, and what follows it.
fn split_name(text: &str) -> (&str, &str) {
    match text.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some((name, rest)) => (name, rest.trim()),
        None => split(text),
    }
}

/// The name that is being typed at the end of a line, where a command wants one: where it begins, and
/// what there is of it without its quotation mark.
pub(crate) fn open_name(line: &str) -> Option<(usize, &str)> {
    let rest = NAMING.iter().find_map(|command| line.strip_prefix(command))?;
    let typed = rest.trim_start();
    if typed.len() == rest.len() {
        return None;
    }
    let (name, ends) = match typed.strip_prefix('"') {
        Some(name) => (name, name.contains('"')),
        None => (typed, typed.contains(char::is_whitespace)),
    };
    (!ends).then_some((line.len() - typed.len(), name))
}

/// A name as commands take it; `None` for one that cannot be written so that nobody else is meant.
pub(crate) fn written(name: &str) -> Option<String> {
    match (name.contains(char::is_whitespace), name.contains('"')) {
        (false, false) => Some(name.to_owned()),
        (true, false) => Some(format!("\"{name}\"")),
        (_, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_one_slash() {
        assert_eq!(read("hello /msg"), Typed::Say("hello /msg".into()));
        assert_eq!(read("//etc"), Typed::Say("/etc".into()));
        assert_eq!(read("   "), Typed::Nothing);
    }

    #[test]
    fn commands_take_what_follows_them() {
        let msg = Typed::Msg { who: "bob".into(), text: "how are you?".into() };
        assert_eq!(read("/msg bob  how are you?"), msg);
        let msg = Typed::Msg { who: "Alice B".into(), text: "hi \"there\"".into() };
        assert_eq!(read("/msg \"Alice B\" hi \"there\""), msg);
        assert_eq!(read("/to team"), Typed::To("team".into()));
        assert_eq!(read("/quit"), Typed::Quit);
        assert!(matches!(read("/msg bob"), Typed::Wrong(_)));
        assert_eq!(read("/invite \"Alice B\""), Typed::Invite("Alice B".into()));
        assert!(matches!(read("/invite"), Typed::Wrong(_)));
        assert_eq!(read("/remove \"Alice B\""), Typed::Remove("Alice B".into()));
        assert!(matches!(read("/remove"), Typed::Wrong(_)));
    }

    #[test]
    fn what_is_wanted_of_the_contact_book_is_read_with_names_of_several_words() {
        let check = |line: &str, wanted: ContactLine| {
            assert_eq!(read(line), Typed::Contact(wanted), "{line}");
        };
        check("/contacts", ContactLine::List);
        check("/contacts \"Alice B\"", ContactLine::Show("Alice B".into()));
        check("/add bob", ContactLine::Add { who: "bob".into(), name: None });
        let name = Some("My Bob".to_owned());
        check("/add bob \"My Bob\"", ContactLine::Add { who: "bob".into(), name });
        check("/verify bob", ContactLine::Verify { who: "bob".into(), answer: None });
        let answer = Some("yes".to_owned());
        check("/verify \"bob yes\" yes", ContactLine::Verify { who: "bob yes".into(), answer });
        let (who, name) = ("bob".to_owned(), "Bob the builder".to_owned());
        check("/rename bob Bob the builder", ContactLine::Rename { who, name });
        check("/block /quit", ContactLine::Block("/quit".into()));
        check("/forget bob", ContactLine::Forget("bob".into()));
        for line in ["/add", "/verify  ", "/rename bob", "/block"] {
            assert!(matches!(read(line), Typed::Wrong(_)), "{line}");
        }
    }

    #[test]
    fn a_mistyped_command_is_answered_with_the_nearest() {
        let Typed::Wrong(text) = read("/pears") else { panic!("understood") };
        assert!(text.contains("/peers"), "{text}");
    }

    #[test]
    fn a_name_is_written_so_that_it_is_read_as_the_same() {
        for name in ["bob", "Alice B", "a\u{a0}b"] {
            let line = format!("/msg {} hi", written(name).unwrap());
            assert_eq!(read(&line), Typed::Msg { who: name.into(), text: "hi".into() });
        }
        assert_eq!((written("\"x\"y"), written("a \"b")), (None, None));
    }
}
