//! Chat templates render as Hugging Face's dialect does, and no template can take more than its limits.

mod tokenizer_support;

use std::time::{Duration, UNIX_EPOCH};
use tl_formats::chat_template::{ChatTemplate, MAX_SOURCE, Message, RenderOptions, TemplateError};
use tokenizer_support::{fixture, gguf, json};

fn render(source: &str) -> Result<String, TemplateError> {
    let messages = [Message::new("user", "Hi"), Message::new("assistant", "Hello\n\"x\" é")];
    ChatTemplate::parse(source)?.render(&messages, &RenderOptions::default())
}

fn text(source: &str) -> String {
    render(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn failure(source: &str) -> TemplateError {
    render(source).map(|text| text.chars().take(100).collect::<String>()).unwrap_err()
}

#[test]
fn smollm2_renders_as_llama_cpp_does() {
    let golden = json(&fixture("smollm2_chat.json"));
    let source = golden["chat_template"].as_str().unwrap();
    let file = gguf("smollm2");
    assert_eq!(file.metadata().get::<&str>("tokenizer.chat_template").unwrap(), source);
    let template = ChatTemplate::parse(source).unwrap();
    let options = RenderOptions {
        bos_token: "<|im_start|>".into(),
        eos_token: "<|im_end|>".into(),
        add_generation_prompt: true,
        ..RenderOptions::default()
    };
    for case in golden["cases"].as_array().unwrap() {
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        assert_eq!(template.render(&messages, &options).unwrap(), case["prompt"].as_str().unwrap());
    }
}

#[test]
fn the_dialect_is_that_of_python() {
    for (source, expected) in [
        ("{% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"),
        ("{{ messages[0]['content'].upper() ~ messages[0].role.capitalize() }}", "HIUser"),
        ("{{ ' x '.strip() }}{{ 'a,b'.split(',')[-1] }}{{ 'abc'.startswith('ab') }}", "xbTrue"),
        ("{{ messages[-1].content[:5] }}{{ messages[1:] | length }}", "Hello1"),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
            "assistant",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        ),
        ("{% macro f(x, y='d') %}{{ x }}{{ y }}{% endmacro %}{{ f('a') }}", "ad"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{{ undefined_name }}{{ undefined_name is defined }}{{ tools is none }}", "FalseTrue"),
        (
            "{{ none }}{{ true }}{{ 1.0 }}{{ [1, 'a', none] }}{{ {'k': true} }}",
            "NoneTrue1.0[1, 'a', None]{'k': True}",
        ),
        ("{% generation %}x{% endgeneration %}{%- generation -%} y {%- endgeneration -%}", "xy"),
        ("{{ dict(a=1).items() | list }}{{ 'x' in 'xyz' }}{{ 7 // 2 }}{{ 'ab' * 2 }}", "[('a', 1)]True3abab"),
        ("{{ '%s-%02d' | format('a', 3) }}", "a-03"),
        (
            "{{ 1 + 2 }}{{ 1.5 * 2 }}{{ 'a' + 'b' }}{{ [1] + [2] }}{{ [0] * 3 }}{{ (1,) + (2,) }}",
            "33.0ab[1, 2][0, 0, 0](1, 2)",
        ),
        (
            "{{ 'héllo'[1:3] }}{{ 'abc'[::-1] }}{{ [1, 2, 3, 4][-3:-1] }}{{ (1, 2, 3)[1:] }}",
            "élcba[2, 3](2, 3)",
        ),
        ("{{ messages | map(attribute='role') | join(', ') }}", "user, assistant"),
        ("{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='role') | first }}", "assistant"),
        (
            "{{ 'a\\nb' | indent(width=2, first=true) }}{{ 'x' | default('y') }}{{ q | default('y', true) }}",
            "  a\n  bxy",
        ),
        (
            "{{ 'a' if messages | length > 1 and 'us' in messages[0].role else 'b' }}{{ 3 != 2 }}{{ 'x' not in 'y' }}",
            "aTrueTrue",
        ),
        (
            "{{ {'b': 1, 'a': 2} | dictsort }}{{ {'k': 1}.get('z', 5) }}{% for k, v in {'p': 1}.items() %}{{ k }}{{ v }}{% endfor %}",
            "[('a', 2), ('b', 1)]5p1",
        ),
        (
            "{{ '{}-{:>3}'.format('a', 7) }}{{ ' '.join(['a', 1]) }}{{ 'a-b'.replace('-', '+') }}{{ 'x' * 3 }}",
            "a-  7a 1a+bxxx",
        ),
        (
            "{% set x = [messages[0]] %}{% if x[0] is mapping and x is iterable and x is not string %}ok{% endif %}",
            "ok",
        ),
    ] {
        assert_eq!(text(source), expected, "{source}");
    }
}

#[test]
fn json_is_printed_as_python_prints_it() {
    for (source, expected) in [
        (
            "{{ messages | tojson }}",
            r#"[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello\n\"x\" é"}]"#,
        ),
        (
            "{{ {'z': 1, 'a': [1.0, 2.5e-7, 1e22, true, none, {}, []]} | tojson }}",
            r#"{"z": 1, "a": [1.0, 2.5e-07, 1e+22, true, null, {}, []]}"#,
        ),
        (
            "{{ {'b': [1, 2], 'a': {}} | tojson(indent=2) }}",
            "{\n  \"b\": [\n    1,\n    2\n  ],\n  \"a\": {}\n}",
        ),
        ("{{ 'é<&😀' | tojson }}{{ 'é😀' | tojson(ensure_ascii=True) }}", r#""é<&😀""\u00e9\ud83d\ude00""#),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", r#"{"a": 2, "b": 1}"#),
    ] {
        assert_eq!(text(source), expected, "{source}");
    }
}

#[test]
fn variables_and_the_date_reach_the_template() {
    let template = ChatTemplate::parse(
        "{{ bos_token }}{{ eos_token }}{{ enable_thinking }} {{ strftime_now('%d %b %Y, %A %H:%M:%S %j') }}",
    );
    let mut variables = serde_json::Map::new();
    variables.insert("enable_thinking".into(), false.into());
    variables.insert("bos_token".into(), "overridden".into());
    let options = RenderOptions {
        bos_token: "<s>".into(),
        eos_token: "</s>".into(),
        variables,
        now: Some(UNIX_EPOCH + Duration::from_secs(1_709_210_096)),
        ..RenderOptions::default()
    };
    let text = template.unwrap().render(&[], &options).unwrap();
    assert_eq!(text, "<s></s>False 29 Feb 2024, Thursday 12:34:56 060");
}

#[test]
fn a_refusal_comes_out_in_the_templates_words() {
    let refused = TemplateError::Raised { message: "roles must alternate".into() };
    assert_eq!(failure("{{ raise_exception('roles must alternate') }}"), refused);
    assert_eq!(
        failure(
            "{% macro f() %}{{ raise_exception('roles must alternate') }}{% endmacro %}{% for m in messages %}{{ f() }}{% endfor %}"
        ),
        refused
    );
}

#[test]
fn syntax_errors_name_the_line() {
    let error = failure("a\nb\n{% if %}");
    assert!(matches!(&error, TemplateError::Syntax { message } if message.contains('3')), "{error}");
    assert!(matches!(failure("{% include '/etc/passwd' %}"), TemplateError::Syntax { .. }));
    assert!(matches!(failure("{% import '/etc/passwd' as x %}"), TemplateError::Syntax { .. }));
    let long = " ".repeat(16 << 20);
    assert_eq!(failure(&long), TemplateError::SourceTooLong { bytes: 16 << 20 });
    assert!(long.len() > MAX_SOURCE);
}

#[test]
fn nesting_is_limited() {
    let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(6000), ")".repeat(6000));
    let lists = format!("{{{{ {}1{} }}}}", "[".repeat(6000), "]".repeat(6000));
    let minus = format!("{{{{ {}1 }}}}", "-".repeat(6000));
    let not = format!("{{{{ {}1 }}}}", "not ".repeat(6000));
    let ifs = format!("{}{}", "{% if 1 %}".repeat(50_000), "{% endif %}".repeat(50_000));
    let ternary = format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(6000));
    for source in [parentheses, lists, minus, not, ifs, ternary] {
        assert!(render(&source).is_err(), "{}", &source[..20]);
    }
    for chain in ["+1", ".a", "|upper", "[0]", "()", " and 1", " ~ 1", "**1", " == 1"] {
        // Long chains may be accepted or refused, and must not overflow the stack.
        let _ = render(&format!("{{{{ 1{} }}}}", chain.repeat(20_000)));
    }
    let elifs = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(20_000));
    let _ = render(&elifs);
    let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(matches!(failure(recursion), TemplateError::Render { .. } | TemplateError::OutOfFuel { .. }));
    let mutual = "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(render(mutual).is_err());
    let lazy = "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}";
    assert!(render(lazy).is_err());
}

#[test]
fn values_that_nest_deeply_do_not_overflow_the_stack() {
    for grow in ["[ns.x]", "{'a': ns.x}", "(ns.x,)", "ns.x + [ns.x]", "[ns.x] + ns.x", "namespace(x=ns.x)"] {
        for print in [
            "",
            "{{ ns.x }}",
            "{{ ns.x | tojson }}",
            "{{ ns.x == ns.x }}",
            "{{ ns.x | string | length }}",
            "{{ ns.x | list | length }}",
            "{{ ns.x | sort | length }}",
            "{{ ns.x | pprint }}",
            "{{ debug() }}",
        ] {
            let source = format!(
                "{{% set ns = namespace(x=[]) %}}{{% for i in range(500) %}}{{% for j in range(500) %}}{{% set ns.x = {grow} %}}{{% endfor %}}{{% endfor %}}{print}"
            );
            let _ = render(&source);
        }
    }
}

#[test]
fn work_memory_and_output_are_limited() {
    for source in [
        "{% for i in range(10**12) %}{% endfor %}",
        "{{ range(10**12) | list | length }}",
        "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{{ a }}{% endfor %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s | length }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s | length }}",
        "{{ 'a' * 10**10 }}",
        "{{ ('a' * 10**6).replace('a', 'b' * 10**6) }}",
        "{% set x = 'a' * 10**6 %}{% for i in range(1000) %}{{ x }}{% endfor %}",
        "{{ ([1] * 10**7) | join(', ') }}",
        "{{ 'a' | indent(10**9) }}{{ '%1000000000d' | format(1) }}{{ 10**10**10 }}",
        "{{ ('x' * 10**5) | tojson(indent=10**9) }}",
        "{{ 'x'.rjust(10**10) }}{{ 'x'.center(10**10) }}{{ 'x'.zfill(10**10) }}{{ 'x' | center(10**10) }}",
    ] {
        let error = failure(source);
        assert!(!matches!(error, TemplateError::Syntax { .. }), "{source}: {error}");
    }
}

#[test]
fn shared_and_circular_values_are_limited() {
    let shared = "{% set a = namespace(x=[1]) %}{% set b = namespace(x=[1]) %}{% for i in range(40) %}{% set a.x = [a.x, a.x] %}{% set b.x = [b.x, b.x] %}{% endfor %}";
    let tuples = shared.replace("[a.x, a.x]", "(a.x, a.x)").replace("[b.x, b.x]", "(b.x, b.x)");
    let maps = shared.replace("[a.x, a.x]", "{1: a.x, 2: a.x}").replace("[b.x, b.x]", "dict(p=b.x, q=b.x)");
    let looped = "{% set a = namespace() %}{% set a.x = a %}{% set b = namespace() %}{% set b.x = [b] %}";
    for grown in [shared, &tuples, &maps, looped] {
        for use_them in [
            "{{ a.x == b.x }}",
            "{{ a.x in [b.x] }}",
            "{{ a.x < b.x }}",
            "{{ a.x ~ '' }}",
            "{{ a.x | string }}",
            "{{ a.x | tojson }}",
            "{{ [a.x, b.x] | sort }}",
            "{{ [a.x, b.x] | unique | list }}",
            "{{ a.x | join }}",
            "{{ ''.join([a.x]) }}",
            "{{ {a.x: 1} }}",
            "{{ a.x is eq(b.x) }}",
            "{{ a.x | map('string') | list }}",
            "{{ a }}",
        ] {
            let error = failure(&format!("{grown}{use_them}"));
            assert!(!matches!(error, TemplateError::Syntax { .. }), "{use_them}: {error}");
        }
    }
}

#[test]
fn nothing_outside_can_be_reached() {
    for source in [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ open('/etc/passwd') }}",
        "{{ include('/etc/passwd') }}",
        "{{ self.__init__() }}",
    ] {
        assert!(render(source).is_err(), "{source}: {:?}", render(source));
    }
}
