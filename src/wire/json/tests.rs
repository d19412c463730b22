//! The skimmer against tables, against its own laws, and against two JSON readers that others wrote.

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::*;

/// All fields of a valid text: names as they mean, values as they came.
fn fields(text: &str) -> Result<Vec<(String, String)>, Invalid> {
    let mut fields = Vec::new();
    object(text, |name, value| fields.push((name.text().into_owned(), value.raw().to_owned())))?;
    Ok(fields)
}

/// The only field of `text`.
fn only(text: &str) -> Value<'_> {
    let mut found = None;
    object(text, |_, value| found = Some(value)).expect("valid");
    found.expect("a field")
}

/// One of everything.
const SAMPLE: &str = concat!(
    r#"{ "type":"chat_message","n":[0,-0,1.5,-2e10,3E-7,1e400,18446744073709551616] , "#,
    "\"o\":{\"a\":{},\"b\":[],\"c\":[[{\"d\":null}]]},\t\"t\":true,\r\n\"f\":false,",
    r#""s":"é日本語🎉\u0000\"\\\/\b\f\n\r\t\ud83c\udf89\uFFFF","":""}"#,
);

#[test]
fn fields_come_in_order_with_the_bytes_that_came() {
    let found = fields(r#" {"a": 1 ,"b" :[1, {"x":"]}"}],"a":"\u0041","\u0061":{ } } "#).unwrap();
    let expected = [("a", "1"), ("b", r#"[1, {"x":"]}"}]"#), ("a", r#""\u0041""#), ("a", "{ }")];
    assert_eq!(found, expected.map(|(name, raw)| (name.to_owned(), raw.to_owned())));
    assert_eq!(fields("{}"), Ok(vec![]));
    assert_eq!(fields("\t{\n}\r "), Ok(vec![]));
    assert_eq!(fields(SAMPLE).unwrap().len(), 7);
}

/// All members of a valid array as they came.
fn members(text: &str) -> Result<Vec<&str>, Invalid> {
    let mut members = Vec::new();
    array(text, |value| members.push(value.raw()))?;
    Ok(members)
}

#[test]
fn members_come_in_order_with_the_bytes_that_came() {
    assert_eq!(
        members(" [ 1 ,\"a,]\",[2, [3]] , {\"b\":[]}\t,null]\n"),
        Ok(vec!["1", "\"a,]\"", "[2, [3]]", "{\"b\":[]}", "null"])
    );
    assert_eq!(members("[]"), Ok(vec![]));
    assert_eq!(members("[\n]"), Ok(vec![]));
    for (text, why) in [
        ("", Invalid::Ended),
        ("{}", Invalid::Unexpected),
        ("[", Invalid::Ended),
        ("[1", Invalid::Ended),
        ("[1,", Invalid::Ended),
        ("[1,]", Invalid::Unexpected),
        ("[,1]", Invalid::Unexpected),
        ("[1 2]", Invalid::Unexpected),
        ("[1]]", Invalid::Unexpected),
        ("[1}", Invalid::Unexpected),
    ] {
        assert_eq!(members(text), Err(why), "{text}");
    }
}

#[test]
fn values_say_what_they_are() {
    for (raw, kind) in [
        (r#""x""#, Kind::String),
        ("-1.5E+3", Kind::Number),
        ("{}", Kind::Object),
        ("[]", Kind::Array),
        ("true", Kind::True),
        ("false", Kind::False),
        ("null", Kind::Null),
    ] {
        let text = format!("{{\"a\":{raw}}}");
        assert_eq!((only(&text).kind(), only(&text).raw()), (kind, raw));
    }
}

#[test]
fn integers_are_digits_that_fit() {
    for (raw, expected) in [
        ("0", Some(0)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("-1", None),
        ("-0", None),
        ("1.0", None),
        ("1e2", None),
        (r#""1""#, None),
        ("true", None),
    ] {
        assert_eq!(only(&format!("{{\"a\":{raw}}}")).integer(), expected, "{raw}");
    }
}

#[test]
fn strings_are_unescaped_and_borrowed_where_nothing_is_escaped() {
    assert!(matches!(only(r#"{"a":"plain é"}"#).text(), Some(Cow::Borrowed("plain é"))));
    let all = r#"{"a":"\"\\\/\b\f\n\r\t\u0000\u00e9\uD83C\uDF89\uffff.\u2028"}"#;
    assert_eq!(only(all).text().unwrap(), "\"\\/\u{8}\u{c}\n\r\t\0é🎉\u{ffff}.\u{2028}");
    assert_eq!(only(r#"{"a":1}"#).text(), None);
}

fn check_refused(cases: &[(&str, Invalid)]) {
    for (text, fault) in cases {
        assert_eq!(fields(text), Err(*fault), "{text:?}");
    }
}

#[test]
fn malformed_structure_is_refused() {
    use Invalid::{Ended, Unexpected};
    check_refused(&[
        ("", Ended),
        (" ", Ended),
        ("null", Unexpected),
        ("[]", Unexpected),
        ("\"a\"", Unexpected),
        ("1", Unexpected),
        ("hello", Unexpected),
        ("\u{feff}{}", Unexpected),
        ("\0{}", Unexpected),
        ("{}\0", Unexpected),
        ("{}x", Unexpected),
        ("{}{}", Unexpected),
        ("{} {}", Unexpected),
        ("{},", Unexpected),
        ("{}]", Unexpected),
        ("{", Ended),
        ("{]", Unexpected),
        ("{,}", Unexpected),
        ("{a:1}", Unexpected),
        ("{'a':1}", Unexpected),
        ("{1:1}", Unexpected),
        ("{null:1}", Unexpected),
        (r#"{"a"}"#, Unexpected),
        (r#"{"a":}"#, Unexpected),
        (r#"{"a" 1}"#, Unexpected),
        (r#"{"a"::1}"#, Unexpected),
        (r#"{"a":1,}"#, Unexpected),
        (r#"{"a":1,,"b":2}"#, Unexpected),
        (r#"{"a":1 "b":2}"#, Unexpected),
        (r#"{"a":1;"b":2}"#, Unexpected),
        (r#"{"a":[1,]}"#, Unexpected),
        (r#"{"a":[,1]}"#, Unexpected),
        (r#"{"a":[1 2]}"#, Unexpected),
        (r#"{"a":[1}"#, Unexpected),
        (r#"{"a":{"b":1]}"#, Unexpected),
        (r#"{"a":{"b"}}"#, Unexpected),
        (r#"{"a":{1}}"#, Unexpected),
        (r#"{"a":["b":1]}"#, Unexpected),
        ("{/* no */}", Unexpected),
        ("{\"a\":1} // no", Unexpected),
        ("{\"a\":1}\u{a0}", Unexpected),
        ("{\u{b}}", Unexpected),
    ]);
}

#[test]
fn malformed_values_are_refused() {
    use Invalid::{Control, Ended, Escape, LoneSurrogate, Unexpected};
    check_refused(&[
        (r#"{"a":NaN}"#, Unexpected),
        (r#"{"a":Infinity}"#, Unexpected),
        (r#"{"a":-Infinity}"#, Unexpected),
        (r#"{"a":undefined}"#, Unexpected),
        (r#"{"a":True}"#, Unexpected),
        (r#"{"a":tru}"#, Unexpected),
        (r#"{"a":nulll}"#, Unexpected),
        (r#"{"a":007}"#, Unexpected),
        (r#"{"a":-01}"#, Unexpected),
        (r#"{"a":+1}"#, Unexpected),
        (r#"{"a":.5}"#, Unexpected),
        (r#"{"a":1.}"#, Unexpected),
        (r#"{"a":1.e5}"#, Unexpected),
        (r#"{"a":1e}"#, Unexpected),
        (r#"{"a":1e+}"#, Unexpected),
        (r#"{"a":-}"#, Unexpected),
        (r#"{"a":--1}"#, Unexpected),
        (r#"{"a":0x10}"#, Unexpected),
        (r#"{"a":1_000}"#, Unexpected),
        (r#"{"a":1n}"#, Unexpected),
        ("{\"a\":\"\0\"}", Control),
        ("{\"a\":\"x\ny\"}", Control),
        ("{\"a\":\"long enough for words\u{1f}\"}", Control),
        ("{\"a\tb\":1}", Control),
        (r#"{"a":"\x41"}"#, Escape),
        (r#"{"a":"\'"}"#, Escape),
        (r#"{"a":"\a"}"#, Escape),
        (r#"{"a":"\U0041"}"#, Escape),
        (r#"{"a":"\u12"}"#, Escape),
        (r#"{"a":"\u12g4"}"#, Escape),
        (r#"{"a":"\u+123"}"#, Escape),
        (r#"{"a":"\u 123"}"#, Escape),
        (r#"{"a":"\uéé"}"#, Escape),
        (r#"{"a":"\"}"#, Ended),
        (r#"{"a":"\ud800"}"#, LoneSurrogate),
        (r#"{"a":"\udc00"}"#, LoneSurrogate),
        (r#"{"a":"\ud800x"}"#, LoneSurrogate),
        (r#"{"a":"\ud800\n"}"#, LoneSurrogate),
        (r#"{"a":"\ud800\ud800"}"#, LoneSurrogate),
        (r#"{"a":"\udc00\ud800"}"#, LoneSurrogate),
        (r#"{"\udfff":1}"#, LoneSurrogate),
        (r#"{"a":["\ud800"]}"#, LoneSurrogate),
    ]);
}

#[test]
fn every_truncation_is_refused_as_such() {
    for (cut, _) in SAMPLE.char_indices() {
        assert_eq!(fields(&SAMPLE[..cut]), Err(Invalid::Ended), "{:?}", &SAMPLE[..cut]);
    }
}

#[test]
fn depth_is_bounded_and_costs_no_stack() {
    let nest = |open: &str, close: &str, depth: usize| {
        format!("{{\"a\":{}0{}}}", open.repeat(depth), close.repeat(depth))
    };
    let deepest = DEPTH_MAX as usize - 1;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert!(fields(&nest(open, close, deepest)).is_ok());
        for depth in [deepest + 1, 60_000] {
            assert_eq!(fields(&nest(open, close, depth)), Err(Invalid::TooDeep));
        }
    }
    assert_eq!(fields(&"[".repeat(60_000)), Err(Invalid::Unexpected));
    assert_eq!(fields(&"{\"a\":".repeat(60_000)), Err(Invalid::TooDeep));
    // Depth is what is open at one time, not what was ever opened.
    assert!(fields(&format!("{{\"a\":[{}[]]}}", "[],{},".repeat(10_000))).is_ok());
    // The kinds of brackets are told apart at every depth.
    let mixed = format!("{{\"a\":{}0{}}}", "[{\"b\":".repeat(60), "}]".repeat(60));
    assert!(fields(&mixed).is_ok());
    assert_eq!(fields(&mixed.replacen("}]", "]}", 1)), Err(Invalid::Unexpected));
}

#[test]
fn a_plain_run_ends_at_each_special_byte_in_each_place() {
    let check = |length: usize, at: usize, byte: u8| {
        for filler in [b'a', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']', b' '] {
            let mut bytes = vec![filler; length];
            bytes[at] = byte;
            assert_eq!(plain_run(&bytes), plain_run_bytewise(&bytes), "{bytes:?}");
        }
    };
    for length in 0..40 {
        for at in 0..length {
            (0..=u8::MAX).for_each(|byte| check(length, at, byte));
        }
    }
    // Where words end and blocks begin, and where those end.
    for length in [63, 64, 65, 72, 127, 128, 129, 135, 192, 200] {
        for at in 0..length {
            [b'"', b'\\', 0, 0x1f, 0x20, 0x80, 0xff].iter().for_each(|byte| check(length, at, *byte));
        }
    }
}

#[test]
fn integers_are_written_in_digits() {
    for number in [0, 7, 10, 99, 100, 1_000_000, u64::MAX] {
        let mut out = Vec::new();
        write_integer(&mut out, number);
        assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
    }
}

/// What strings are made of.
const PIECES: &[&str] = &[
    "a",
    "room",
    "sixteen bytes or",
    " ",
    "é",
    "日",
    "🎉",
    "\u{2028}",
    "\u{7f}",
    "\\\"",
    "\\\\",
    "\\/",
    "\\n",
    "\\u0000",
    "\\u00e9",
    "\\ud83c\\udf89",
    "{",
    "]",
    ",",
    ":",
];

/// JSON texts of an object, with blanks and escapes strewn in.
fn objects() -> impl Strategy<Value = String> {
    let blank = || prop::sample::select(vec!["", "", "", " ", "\n", "\t\r"]);
    let string = prop::collection::vec(prop::sample::select(PIECES), 0..12)
        .prop_map(|pieces| format!("\"{}\"", pieces.concat()))
        .boxed();
    let leaf = prop_oneof![
        string.clone(),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has no NaN", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        prop::sample::select(vec!["true", "false", "null", "0", "-0", "1.50", "1E+2", "{}", "[]"])
            .prop_map(str::to_owned),
    ];
    let name = string;
    let pair = move |value: BoxedStrategy<String>| {
        (name.clone(), blank(), blank(), value)
            .prop_map(|(name, a, b, value)| format!("{name}{a}:{b}{value}"))
    };
    let inner = pair.clone();
    let value = leaf.prop_recursive(5, 40, 5, move |value| {
        prop_oneof![
            (prop::collection::vec(value.clone(), 0..5), blank())
                .prop_map(|(values, a)| format!("[{a}{}{a}]", values.join(","))),
            (prop::collection::vec(inner(value), 0..5), blank())
                .prop_map(|(pairs, a)| format!("{{{a}{}{a}}}", pairs.join(","))),
        ]
    });
    (prop::collection::vec(pair(value.boxed()), 0..6), blank(), blank())
        .prop_map(|(pairs, a, b)| format!("{a}{{{b}{}{b}}}{a}", pairs.join(",")))
}

/// What serde_json says, where the two are meant to agree: it refuses numbers beyond f64, and has a depth limit
/// of its own.
fn judged_by_serde(text: &str) -> Option<bool> {
    match serde_json::from_str::<Tree>(text) {
        Ok(tree) => Some(tree.is_object()),
        Err(error) if error.to_string().contains("out of range") => None,
        Err(error) if error.to_string().contains("recursion limit") => None,
        Err(_) => Some(false),
    }
}

/// What simd-json says, numbers apart: its integers have 64 bits.
fn judged_by_simd(text: &str) -> Option<bool> {
    use simd_json::prelude::ValueAsObject;
    let mut bytes = text.to_owned().into_bytes();
    match simd_json::to_borrowed_value(&mut bytes) {
        Ok(tree) => Some(tree.as_object().is_some()),
        Err(error) if *error.error() == simd_json::ErrorType::InvalidNumber => None,
        Err(_) => Some(false),
    }
}

/// Cuts, doubles, swaps or overwrites something in a text.
fn mutate(text: &str, kind: u8, at: usize, with: char) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = at % chars.len();
    match kind {
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, with),
        2 => chars[at] = with,
        3 => chars.truncate(at),
        4 => chars.extend_from_within(at..),
        _ => chars.swap(at, (at + 1) % text.chars().count()),
    }
    chars.into_iter().collect()
}

const MEAN: &[char] = &[
    '"', '\\', '{', '}', '[', ']', ',', ':', '0', '9', '-', '+', '.', 'e', 'E', 'u', 'd', '8', 't', 'n', ' ',
    '\n', '\0', '\u{1f}', '/', 'é', '🎉',
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_texts_are_taken_as_others_take_them(text in objects()) {
        let found = fields(&text).map_err(|fault| TestCaseError::fail(format!("{fault:?}: {text}")))?;
        let tree: Tree = serde_json::from_str(&text).unwrap();
        let tree = tree.as_object().unwrap();
        let mut last = serde_json::Map::new();
        for (name, raw) in found {
            last.insert(name, serde_json::from_str(&raw).unwrap());
        }
        prop_assert_eq!(&last, tree);
        prop_assert_ne!(judged_by_simd(&text), Some(false), "{}", text);
    }

    #[test]
    fn mutated_texts_are_judged_as_others_judge_them(
        text in objects(), kind in 0u8..6, at: usize, with in prop::sample::select(MEAN),
    ) {
        let text = mutate(&text, kind, at, with);
        if let Some(expected) = judged_by_serde(&text) {
            prop_assert_eq!(fields(&text).is_ok(), expected, "{:?}", text);
        }
        if let Some(expected) = judged_by_simd(&text) {
            prop_assert_eq!(fields(&text).is_ok(), expected, "{:?}", text);
        }
        // An array is good when all that is in it is.
        if let Some(expected) = judged_by_serde(&text) {
            prop_assert_eq!(members(&format!("[{text},1]")).is_ok(), expected, "{:?}", text);
        }
    }

    #[test]
    fn any_string_survives_writing_and_reading(text: String, noise in "[\\x00-\\x7f]{0,80}") {
        for text in [text, noise] {
            let mut out = b"{\"a\":".to_vec();
            write_string(&mut out, &text);
            out.push(b'}');
            let out = String::from_utf8(out).unwrap();
            prop_assert_eq!(only(&out).text().unwrap(), text.as_str());
            let tree: Tree = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(tree["a"].as_str(), Some(text.as_str()));
        }
    }
}
