//! Reading JSON from strangers: bounded before it is parsed, unambiguous after.
//!
//! [`parse`] accepts what every JSON reader understands alike and nothing else. [`Fields`] then takes one object apart
//! and names the path of whatever is wrong, without repeating any content.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::rejection::Rejection;

/// The longest body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;
/// The deepest nesting of arrays and objects; a scalar alone has depth 0.
pub(crate) const MAX_DEPTH: usize = 32;

/// Whether texts may hold U+0000, which databases and C libraries trip over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nul {
    /// In what we are asked to do.
    Refused,
    /// In what we tell: somebody may have written it in a message.
    Accepted,
}

/// Parses a body: at most 1 MiB of UTF-8 without a byte-order mark, at most 32 levels, no field twice in one object.
pub(crate) fn parse(body: &[u8], nul: Nul) -> Result<Value, Rejection> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Rejection::TooLarge { max: MAX_BODY_BYTES });
    }
    let text = std::str::from_utf8(body).map_err(|_| Rejection::NotJson)?;
    check_depth(text)?;
    let refusal = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { path: Path { parent: None, step: Step::Root }, nul, refusal: &refusal };
    let value = strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|_| refusal.take().unwrap_or(Rejection::NotJson))
}

/// Counts brackets outside strings, before any parser recurses into them.
fn check_depth(text: &str) -> Result<(), Rejection> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Rejection::TooDeep { max: MAX_DEPTH });
        }
    }
    Ok(())
}

/// Where in the document the parser stands; built on the stack, spelt out only when something is wrong.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let is_first = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if is_first => f.write_str(presentable(name)),
            Step::Field(name) => write!(f, ".{}", presentable(name)),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A field's name if it looks like one of ours, else `?`: a stranger's key may hold anything.
fn presentable(name: &str) -> &str {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(is_plain) { name } else { "?" }
}

/// Builds a [`Value`], refusing what readers disagree on. The refusal travels beside serde's own error.
struct Strict<'a> {
    path: Path<'a>,
    nul: Nul,
    refusal: &'a RefCell<Option<Rejection>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&self, refusal: Rejection) -> E {
        self.refusal.replace(Some(refusal));
        E::custom("refused")
    }

    fn check_text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if self.nul == Nul::Refused && text.contains('\0') {
            let path = self.path.to_string();
            return Err(self.refuse(Rejection::InvalidField { path, why: "holds the character U+0000".into() }));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.check_text(text)?;
        Ok(text.into())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        self.check_text(&text)?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        loop {
            let path = Path { parent: Some(&self.path), step: Step::Index(array.len()) };
            match items.next_element_seed(Strict { path, nul: self.nul, refusal: self.refusal })? {
                Some(item) => array.push(item),
                None => return Ok(Value::Array(array)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = Path { parent: Some(&self.path), step: Step::Field(&name) };
            let field = Strict { path, nul: self.nul, refusal: self.refusal };
            field.check_text::<A::Error>(&name)?;
            if object.contains_key(&name) {
                return Err(field.refuse(Rejection::DuplicateField { path: path.to_string() }));
            }
            let value = fields.next_value_seed(field)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// One object, taken apart field by field. [`finish`](Fields::finish) refuses what nobody asked for, because a misspelt
/// optional field that is silently ignored does something else than its sender meant.
pub(crate) struct Fields {
    path: String,
    object: Map<String, Value>,
}

impl Fields {
    /// Takes `value`, found at `path`, as an object. An empty array is an empty object: PHP cannot tell them apart.
    pub(crate) fn new(path: &str, value: Value) -> Result<Self, Rejection> {
        let object = match value {
            Value::Object(object) => object,
            Value::Array(items) if items.is_empty() => Map::new(),
            _ => return Err(invalid(path, "must be an object")),
        };
        Ok(Self { path: path.to_owned(), object })
    }

    /// Takes a field out, `null` and absent alike as `None`.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field out as it stands, where `null` means something of its own.
    pub(crate) fn take_or_null(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name)
    }

    /// A text, or `None` when it is absent or `null`.
    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<String>, Rejection> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "must be a string")),
        }
    }

    /// A text that must be there.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, Rejection> {
        self.optional_text(name)?.ok_or_else(|| self.invalid(name, "is missing"))
    }

    /// A text of a form of its own, or `None` when it is absent or `null`.
    pub(crate) fn optional_parsed<T>(&mut self, name: &str) -> Result<Option<T>, Rejection>
    where
        T: TryFrom<String, Error: fmt::Display>,
    {
        let text = self.optional_text(name)?;
        text.map(|text| T::try_from(text).map_err(|error| self.invalid(name, &format!("is {error}")))).transpose()
    }

    /// A text of a form of its own that must be there.
    pub(crate) fn parsed<T>(&mut self, name: &str) -> Result<T, Rejection>
    where
        T: TryFrom<String, Error: fmt::Display>,
    {
        self.optional_parsed(name)?.ok_or_else(|| self.invalid(name, "is missing"))
    }

    /// A whole number from 0 up that must be there.
    pub(crate) fn whole_number(&mut self, name: &str) -> Result<u64, Rejection> {
        let value = self.take(name).ok_or_else(|| self.invalid(name, "is missing"))?;
        value.as_u64().ok_or_else(|| self.invalid(name, "must be a whole number"))
    }

    /// A number that must be there.
    pub(crate) fn number(&mut self, name: &str) -> Result<f64, Rejection> {
        let value = self.take(name).ok_or_else(|| self.invalid(name, "is missing"))?;
        value.as_f64().ok_or_else(|| self.invalid(name, "must be a number"))
    }

    /// A yes or no, or `None` when it is absent or `null`.
    pub(crate) fn optional_flag(&mut self, name: &str) -> Result<Option<bool>, Rejection> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.invalid(name, "must be true or false")),
        }
    }

    /// A list of `min` to `max` items. Absent, `null` and empty are the same.
    pub(crate) fn list(&mut self, name: &str, min: usize, max: usize) -> Result<Vec<Value>, Rejection> {
        let items = match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.invalid(name, "must be a list")),
        };
        match items.len() {
            0 if min > 0 => Err(self.invalid(name, "is missing")),
            count if count < min => Err(self.invalid(name, &format!("must hold at least {min} items"))),
            count if count > max => Err(self.invalid(name, &format!("must hold at most {max} items"))),
            _ => Ok(items),
        }
    }

    /// A list of texts of a form of their own; absent, `null` and empty are the same.
    pub(crate) fn parsed_list<T>(&mut self, name: &str, min: usize, max: usize) -> Result<Vec<T>, Rejection>
    where
        T: TryFrom<String, Error: fmt::Display>,
    {
        let items = self.list(name, min, max)?.into_iter().enumerate();
        items
            .map(|(index, item)| match item {
                Value::String(text) => {
                    T::try_from(text).map_err(|error| self.invalid_item(name, index, &format!("is {error}")))
                }
                _ => Err(self.invalid_item(name, index, "must be a string")),
            })
            .collect()
    }

    /// A list of `min` to `max` objects, each to be taken apart.
    pub(crate) fn objects(&mut self, name: &str, min: usize, max: usize) -> Result<Vec<Fields>, Rejection> {
        let items = self.list(name, min, max)?.into_iter().enumerate();
        items.map(|(index, item)| Fields::new(&format!("{}[{index}]", self.path_of(name)), item)).collect()
    }

    /// A refusal that names an item of a list.
    pub(crate) fn invalid_item(&self, name: &str, index: usize, why: &str) -> Rejection {
        invalid(&format!("{}[{index}]", self.path_of(name)), why)
    }

    /// Refuses any field that was not taken.
    pub(crate) fn finish(self) -> Result<(), Rejection> {
        match self.object.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.invalid(name, "is unknown")),
        }
    }

    fn path_of(&self, name: &str) -> String {
        let name = presentable(name);
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A refusal that names the field.
    pub(crate) fn invalid(&self, name: &str, why: &str) -> Rejection {
        invalid(&self.path_of(name), why)
    }
}

/// A refusal of the field at `path`; the empty path is the body.
pub(crate) fn invalid(path: &str, why: &str) -> Rejection {
    let path = if path.is_empty() { "body" } else { path };
    Rejection::InvalidField { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse_text(text: &str) -> Result<Value, Rejection> {
        parse(text.as_bytes(), Nul::Refused)
    }

    #[test]
    fn values_come_out_as_they_are() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,1e2,"\u00fc\ud83d\udc4b"],"b":{},"c":[]}"#;
        let expected = json!({"a":[null,true,-1,u64::MAX,1.5,100.0,"ü👋"],"b":{},"c":[]});
        assert_eq!(parse_text(text), Ok(expected));
        assert_eq!(parse_text(" 7 "), Ok(json!(7)));
    }

    #[test]
    fn exactly_32_levels_and_one_mebibyte_are_accepted() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse_text(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse_text(&nested(MAX_DEPTH + 1)), Err(Rejection::TooDeep { max: MAX_DEPTH }));
        let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(parse_text(&long(MAX_BODY_BYTES)).is_ok());
        assert_eq!(parse_text(&long(MAX_BODY_BYTES + 1)), Err(Rejection::TooLarge { max: MAX_BODY_BYTES }));
    }

    #[test]
    fn brackets_inside_strings_are_not_levels() {
        let text = format!(r#"["{}\"{}\\"]"#, "[".repeat(100), "{".repeat(100));
        assert!(parse_text(&text).is_ok(), "{text}");
        assert!(parse_text(&format!("[{}]", ["[]"; 100].join(","))).is_ok(), "siblings do not add up");
    }

    #[test]
    fn refusals_name_the_place() {
        let duplicate = |path: &str| Rejection::DuplicateField { path: path.to_owned() };
        let nul = |path: &str| invalid(path, "holds the character U+0000");
        let cases = [
            (r#"{"a":1,"a":1}"#, duplicate("a")),
            (r#"[{"a":{"b":1,"\u0062":2}}]"#, duplicate("[0].a.b")),
            (r#"{"a":[0,{"b c":1,"b c":2}]}"#, duplicate("a[1].?")),
            (r#"{"a":["x","\u0000"]}"#, nul("a[1]")),
            (r#""\u0000""#, Rejection::InvalidField { path: String::new(), why: "holds the character U+0000".into() }),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_text(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_character_u_0000_is_accepted_where_others_wrote_it() {
        assert_eq!(parse(br#"["\u0000"]"#, Nul::Accepted), Ok(json!(["\0"])));
    }

    #[test]
    fn fields_are_taken_once_and_none_is_left_over() {
        let mut fields = Fields::new("data", json!({"a": "x", "n": 7, "null": null, "left": 1})).expect("an object");
        assert_eq!(fields.text("a"), Ok("x".to_owned()));
        assert_eq!(fields.text("a"), Err(invalid("data.a", "is missing")));
        assert_eq!(fields.whole_number("n"), Ok(7));
        assert_eq!(fields.optional_text("null"), Ok(None));
        assert_eq!(fields.finish(), Err(invalid("data.left", "is unknown")));
    }
}
