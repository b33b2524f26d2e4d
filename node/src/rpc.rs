//! JSON-RPC 2.0, one object a line, as standard input and the control socket speak it: requests
//! read, answers written. Not here: what the methods do.

use serde_json::{Value, json};

use crate::suggest;

pub(crate) const PARSE_ERROR: i64 = -32700;
pub(crate) const INVALID_REQUEST: i64 = -32600;
pub(crate) const NO_SUCH_METHOD: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// The request is right and cannot be done now.
pub(crate) const REFUSED: i64 = -32000;
/// Why nothing was done while a part of the node is started again.
pub(crate) const RESTARTING: &str = "the node is starting a part of itself again; ask once more";

/// Why a request is not done: a code and words.
pub(crate) type Refusal = (i64, String);

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
            Err((code, text)) => {
                let error = json!({"code": code, "message": text});
                json!({"jsonrpc": "2.0", "id": id, "error": error})
            }
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
    let refused = |code| move |text| (Asker::NOBODY, (code, text));
    let request: Value = serde_json::from_str(line)
        .map_err(|error| error.to_string())
        .map_err(refused(PARSE_ERROR))?;
    read_envelope(request).map(Some).map_err(refused(INVALID_REQUEST))
}

/// The answer to a line that could not even be read.
pub(crate) fn unreadable(why: &str) -> String {
    let refusal = Err((PARSE_ERROR, why.to_owned()));
    Asker::NOBODY.answer(&refusal).unwrap_or_default()
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
    (NO_SUCH_METHOD, format!("no method {unknown}{hint}"))
}

/// The refusal of a parameter.
pub(crate) fn wrong(field: &str, wanted: &str) -> Refusal {
    (INVALID_PARAMS, format!("params.{field} must be {wanted}"))
}

/// A parameter that must be there and be a string.
pub(crate) fn string_of<'a>(params: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    params.get(field).and_then(Value::as_str).ok_or_else(|| wrong(field, "a string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(line: &str, code: i64) {
        let (asker, (refused, _)) = read(line).expect_err(line);
        assert_eq!((asker, refused), (Asker::NOBODY, code), "{line}");
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
        let answer: Value =
            serde_json::from_str(&asks.asker.answer(&Err((REFUSED, "no".into()))).unwrap())
                .unwrap();
        assert_eq!(answer["id"], "a");
        assert_eq!(answer["error"], json!({"code": REFUSED, "message": "no"}));
    }
}
