//! What a typed line means.

use crate::suggest;

/// Commands, with what follows them and what they do.
pub(crate) const COMMANDS: [(&str, &str, &str); 21] = [
    ("/msg", "WHO TEXT", "say something to one person alone"),
    ("/to", "CHANNEL", "say what follows in another channel"),
    ("/group", "NAME WHO...", "make a group with some contacts, and invite them"),
    ("/invite", "WHO", "invite a contact to this closed channel"),
    ("/invitations", "", "who invites you to what, and whom you have invited"),
    ("/accept", "NUMBER|NAME", "go into a channel that you are invited to"),
    ("/decline", "NUMBER|NAME", "forget an invitation, and say so to who sent it"),
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
    /// Something about who is asked into channels.
    Inviting(InviteLine),
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

/// What a line wants of invitations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InviteLine {
    /// A ticket for the present channel.
    Invite(String),
    /// A new group.
    Group { name: String, people: Vec<String> },
    /// What waits.
    List,
    /// Into the channel of one, by number or name.
    Accept(String),
    /// Not into it.
    Decline(String),
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

/// Commands that stand alone.
const ALONE: [&str; 5] = ["/peers", "/members", "/invitations", "/help", "/quit"];

/// Commands that are about one name and take nothing else.
const OF_ONE: [&str; 7] =
    ["/contacts", "/invite", "/remove", "/accept", "/decline", "/block", "/forget"];

/// Reads a line.
pub(crate) fn read(line: &str) -> Typed {
    if line.trim().is_empty() {
        return Typed::Nothing;
    }
    // It may hold what is meant for one alone.
    let (first, _) = split(line.trim_start());
    if line.starts_with(char::is_whitespace) && COMMANDS.iter().any(|(known, ..)| *known == first) {
        return Typed::Wrong(format!(
            "{first} with a space before it is no command: take that away, or begin with // to say it"
        ));
    }
    if let Some(text) = line.strip_prefix("//") {
        return Typed::Say(format!("/{text}"));
    }
    if !line.starts_with('/') {
        return Typed::Say(line.to_owned());
    }
    let (command, rest) = split(line);
    if let Some(wrong) = left_over(command, rest) {
        return Typed::Wrong(wrong);
    }
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
        "/invite" | "/group" | "/invitations" | "/accept" | "/decline" => {
            read_inviting(command, rest)
        }
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

/// What is wrong with a command that has more after it than it takes: it is done to nobody, as
/// somebody else may be meant than the first word says.
fn left_over(command: &str, rest: &str) -> Option<String> {
    if ALONE.contains(&command) && !rest.is_empty() {
        return Some(format!("{command} stands alone; begin with // to say it"));
    }
    let (who, rest) = split_name(rest);
    // Of safety words there are only digits.
    let is_answer = |rest: &str| rest == "yes" || rest.starts_with(|it: char| it.is_ascii_digit());
    let is_over = OF_ONE.contains(&command) || command == "/verify" && !is_answer(unquoted(rest));
    (is_over && !rest.is_empty()).then(|| {
        format!("{command} is about one, and not clear is who: is it \"{who} {rest}\"? A name with a space stands in quotation marks")
    })
}

fn read_inviting(command: &str, rest: &str) -> Typed {
    let (first, mut rest) = split_name(rest);
    let first = first.to_owned();
    Typed::Inviting(match command {
        "/invitations" => InviteLine::List,
        "/invite" if first.is_empty() => return Typed::Wrong("say whom: /invite WHO".into()),
        "/invite" => InviteLine::Invite(first),
        "/group" => {
            let mut people = Vec::new();
            while !rest.is_empty() {
                let (who, left) = split_name(rest);
                people.push(who.to_owned());
                rest = left;
            }
            if first.is_empty() || people.is_empty() {
                return Typed::Wrong("say the name and whom: /group NAME WHO WHO".into());
            }
            InviteLine::Group { name: first, people }
        }
        _ if first.is_empty() => {
            return Typed::Wrong(format!("say which: {command} NUMBER; /invitations lists them"));
        }
        "/accept" => InviteLine::Accept(first),
        _ => InviteLine::Decline(first),
    })
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
        assert_eq!(read("/remove \"Alice B\""), Typed::Remove("Alice B".into()));
        assert!(matches!(read("/remove"), Typed::Wrong(_)));
    }

    #[test]
    fn what_is_wanted_of_invitations_is_read_with_names_of_several_words() {
        let check = |line: &str, wanted: InviteLine| {
            assert_eq!(read(line), Typed::Inviting(wanted), "{line}");
        };
        check("/invite \"Alice B\"", InviteLine::Invite("Alice B".into()));
        let people = vec!["bob".to_owned(), "Alice B".into(), "carol".into()];
        let name = "our trip".to_owned();
        check("/group \"our trip\" bob  \"Alice B\" carol", InviteLine::Group { name, people });
        check("/invitations", InviteLine::List);
        check("/accept 12", InviteLine::Accept("12".into()));
        check("/decline \"our trip\"", InviteLine::Decline("our trip".into()));
        for line in ["/invite", "/group", "/group trip", "/accept", "/decline "] {
            assert!(matches!(read(line), Typed::Wrong(_)), "{line}");
        }
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
    fn a_command_with_more_than_it_takes_is_done_to_nobody() {
        let wrong = |line: &str, words: &str| {
            let Typed::Wrong(text) = read(line) else { panic!("understood: {line}") };
            assert!(text.contains(words), "{text}");
        };
        for command in ["/block", "/forget", "/contacts", "/invite", "/verify"] {
            wrong(&format!("{command} Alice B"), "\"Alice B\"? A name with a space stands in");
        }
        wrong("/verify Alice B yes", "\"Alice B yes\"?");
        for line in ["/quit smoking?", "/help me", "/peers of mine"] {
            wrong(line, "begin with // to say it");
        }
        assert_eq!(read("//quit smoking?"), Typed::Say("/quit smoking?".into()));
        let answer = Some("12345 67890".to_owned());
        let verify = ContactLine::Verify { who: "Alice B".into(), answer };
        assert_eq!(read("/verify \"Alice B\" 12345 67890"), Typed::Contact(verify));
    }

    #[test]
    fn a_command_with_a_space_before_it_is_said_to_nobody() {
        for line in [" /msg bob secret", "\t/quit", "\u{3000}/msg bob secret"] {
            let Typed::Wrong(text) = read(line) else { panic!("understood: {line}") };
            assert!(text.contains("with a space before it"), "{text}");
        }
        assert_eq!(read(" /etc/passwd"), Typed::Say(" /etc/passwd".into()));
        assert_eq!(read(" hi"), Typed::Say(" hi".into()));
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
