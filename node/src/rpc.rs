//! JSON-RPC 2.0, one object a line, as standard input and the control socket speak it: requests
//! read, answers written. Not here: what the methods do.

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::suggest;

pub(crate) const PARSE_ERROR: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const NO_SUCH_METHOD: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// The request is right and cannot be done now.
pub(crate) const REFUSED: i64 = -32000;

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    pub(crate) text: String,
    /// What a command ends with that fails for this.
    pub(crate) exit: Exit,
    /// What a program can wait for.
    pub(crate) lacks: Option<Lack>,
}

/// What is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Room: so many messages are owed to somebody.
    Room { waiting: usize },
    /// A link with the peer that is meant.
    Link,
    /// Anybody of that name.
    Person,
    /// A moment: the disk or a part of the node is not ready.
    Moment,
    /// An answer: it is not known whether it was done. What is asked again, or said again under
    /// the same key, is done once.
    Answer,
}

impl Refusal {
    /// A request that makes sense and cannot be done now.
    pub(crate) fn now(text: impl Into<String>) -> Self {
        Self::with(Exit::Failed, text)
    }

    /// The same, where a command ends with another code.
    pub(crate) fn with(exit: Exit, text: impl Into<String>) -> Self {
        Self { code: REFUSED, text: text.into(), exit, lacks: None }
    }

    /// A request whose parameters make no sense.
    pub(crate) fn params(text: impl Into<String>) -> Self {
        Self::of(INVALID_PARAMS, Exit::Usage, text)
    }

    /// What is named is not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::of(INVALID_PARAMS, Exit::Failed, text)
    }

    fn of(code: i64, exit: Exit, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), exit, lacks: None }
    }

    /// Says what is not there yet.
    pub(crate) fn lacking(mut self, lack: Lack) -> Self {
        self.lacks = Some(lack);
        self
    }

    /// What `error` is in an answer.
    fn to_json(&self) -> Value {
        let mut data = json!({"exit": self.exit.code()});
        if let Some(lack) = self.lacks {
            data["lacks"] = match lack {
                Lack::Room { .. } => "room",
                Lack::Link => "link",
                Lack::Person => "person",
                Lack::Moment => "moment",
                Lack::Answer => "answer",
            }
            .into();
            if let Lack::Room { waiting } = lack {
                data["waiting"] = waiting.into();
            }
        }
        json!({"code": self.code, "message": self.text, "data": data})
    }

    /// Reads the `error` of an answer; what is not there is filled in.
    pub(crate) fn from_json(error: &Value) -> Self {
        let text = error["message"].as_str().unwrap_or("it refused without a word");
        let data = &error["data"];
        let exit = data["exit"].as_u64().and_then(|code| u8::try_from(code).ok());
        let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
        let lacks = match data["lacks"].as_str() {
            Some("room") => Some(Lack::Room { waiting: count(&data["waiting"]).unwrap_or(1) }),
            Some("link") => Some(Lack::Link),
            Some("person") => Some(Lack::Person),
            Some("moment") => Some(Lack::Moment),
            Some("answer") => Some(Lack::Answer),
            _ => None,
        };
        Self {
            code: error["code"].as_i64().unwrap_or(REFUSED),
            text: text.to_owned(),
            exit: exit.map_or(Exit::Failed, Exit::from_code),
            lacks,
        }
    }
}

/// What a request is answered with: its id, unless the client wants no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asker(Option<Value>);

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) asker: Asker,
    pub(crate) method: String,
    pub(crate) params: Value,
}

impl Asker {
    /// Whose request it is cannot be believed where it is none.
    pub(crate) const NOBODY: Self = Self(Some(Value::Null));

    /// The answer in a line; `None` for one that wants none.
    pub(crate) fn answer(&self, result: &Result<Value, Refusal>) -> Option<String> {
        let Self(id) = self;
        let id = id.as_ref()?;
        let answer = match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(refusal) => json!({"jsonrpc": "2.0", "id": id, "error": refusal.to_json()}),
        };
        Some(answer.to_string())
    }
}

/// Reads a line; `None` for an empty one.
///
/// # Errors
///
/// Why it is no request, and whom to tell.
pub(crate) fn read(line: &str) -> Result<Option<Request>, (Asker, Refusal)> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let refused = |code| move |text: String| (Asker::NOBODY, Refusal::of(code, Exit::Failed, text));
    let request: Value = serde_json::from_str(line)
        .map_err(|error| error.to_string())
        .map_err(refused(PARSE_ERROR))?;
    read_envelope(request).map(Some).map_err(refused(INVALID_REQUEST))
}

/// The answer to a line that could not even be read.
pub(crate) fn unreadable(why: &str) -> String {
    let refusal = Refusal::of(PARSE_ERROR, Exit::Failed, why);
    Asker::NOBODY.answer(&Err(refusal)).unwrap_or_default()
}

fn read_envelope(mut request: Value) -> Result<Request, String> {
    if request.is_array() {
        return Err("requests come one in a line, not in an array".into());
    }
    let is_ours = request.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
    let method = request.get("method").and_then(Value::as_str).filter(|_| is_ours);
    let method = method.ok_or("a request has \"jsonrpc\": \"2.0\" and a \"method\"")?.to_owned();
    let id = request.get("id");
    if id.is_some_and(|id| !(id.is_string() || id.is_number() || id.is_null())) {
        return Err("an \"id\" is a string or a number".into());
    }
    let asker = Asker(id.cloned());
    let params = request.get_mut("params").map(Value::take).unwrap_or_default();
    Ok(Request { asker, method, params })
}

/// The refusal of a method that is none of `known`.
pub(crate) fn no_such_method<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Refusal {
    let hint = suggest::nearest(unknown, known)
        .map(|nearest| format!("; did you mean {nearest}?"))
        .unwrap_or_default();
    Refusal::of(NO_SUCH_METHOD, Exit::Failed, format!("no method {unknown}{hint}"))
}

/// The refusal of a parameter.
pub(crate) fn wrong(field: &str, wanted: &str) -> Refusal {
    Refusal::params(format!("params.{field} must be {wanted}"))
}

/// A parameter that must be there and be a string.
pub(crate) fn string_of<'a>(params: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    params.get(field).and_then(Value::as_str).ok_or_else(|| wrong(field, "a string"))
}

/// A parameter that may be left out or be `null`, and else must be a string.
pub(crate) fn optional_string<'a>(
    params: &'a Value,
    field: &str,
) -> Result<Option<&'a str>, Refusal> {
    match params.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => string_of(params, field).map(Some),
    }
}

/// A parameter that may be left out, which is `false`, and else must be a boolean.
pub(crate) fn flag_of(params: &Value, field: &str) -> Result<bool, Refusal> {
    match params.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| wrong(field, "true or false")),
    }
}

/// A parameter that may be missing, and else is a whole number that is not negative.
pub(crate) fn number_of(params: &Value, field: &str) -> Result<Option<u64>, Refusal> {
    match params.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(field, "a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(line: &str, code: i64) {
        let (asker, refused) = read(line).expect_err(line);
        assert_eq!((asker, refused.code), (Asker::NOBODY, code), "{line}");
    }

    #[test]
    fn what_is_no_request_is_refused_by_its_kind() {
        check_refused("{", PARSE_ERROR);
        check_refused(&"[".repeat(100_000), PARSE_ERROR);
        check_refused("[1]", INVALID_REQUEST);
        check_refused("7", INVALID_REQUEST);
        check_refused("{\"method\": \"status\"}", INVALID_REQUEST);
        check_refused("{\"jsonrpc\": \"2.0\", \"method\": 1}", INVALID_REQUEST);
        check_refused("{\"jsonrpc\": \"2.0\", \"method\": \"x\", \"id\": []}", INVALID_REQUEST);
        assert_eq!(read(" \t"), Ok(None));
    }

    #[test]
    fn who_gives_no_id_gets_no_answer() {
        let read = |line: &str| read(line).unwrap().unwrap();
        let silent = read("{\"jsonrpc\": \"2.0\", \"method\": \"status\"}");
        assert_eq!(silent.asker.answer(&Ok(Value::Null)), None);
        let asks = read(
            "{\"jsonrpc\": \"2.0\", \"id\": \"a\", \"method\": \"x\", \"params\": {\"y\": 1}}",
        );
        assert_eq!((asks.method.as_str(), &asks.params), ("x", &json!({"y": 1})));
        let answer = asks.asker.answer(&Err(Refusal::now("no"))).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["id"], "a");
        let error = json!({"code": REFUSED, "message": "no", "data": {"exit": 1}});
        assert_eq!(answer["error"], error);
    }

    #[test]
    fn a_refusal_comes_back_as_it_was() {
        let refusals = [
            Refusal::now("no"),
            Refusal::with(Exit::Untrusted, "another key"),
            Refusal::params("what?"),
            Refusal::with(Exit::Limit, "full").lacking(Lack::Room { waiting: 7 }),
            Refusal::with(Exit::NotDelivered, "no link").lacking(Lack::Link),
            Refusal::now("nobody").lacking(Lack::Person),
            Refusal::now("busy").lacking(Lack::Moment),
            Refusal::now("perhaps").lacking(Lack::Answer),
        ];
        for refusal in refusals {
            assert_eq!(Refusal::from_json(&refusal.to_json()), refusal);
        }
        assert_eq!(Refusal::from_json(&json!(7)).exit, Exit::Failed);
    }
}
