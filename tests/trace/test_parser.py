"""The syntax of trace-events files: every rule, and the line an error names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coloproxy.trace import EventSpec, TraceSyntaxError, load, parse
from coloproxy.trace.ctype import Kind
from coloproxy.trace.parser import check_unique

ORIGINAL = [
    "vhost_user_event",
    "colo_proxy_main",
    "colo_compare_main",
    "colo_compare_udp_miscompare",
    "colo_compare_icmp_miscompare",
    "colo_compare_ip_info",
    "colo_old_packet_check_found",
    "colo_compare_miscompare",
    "colo_compare_tcp_info",
    "colo_filter_rewriter_debug",
    "colo_filter_rewriter_pkt_info",
    "colo_filter_rewriter_conn_offset",
]


def one(line: str, **options: bool) -> EventSpec:
    (spec,) = parse(line + "\n", "t", **options)
    return spec


def refused(text: str, **options: bool) -> TraceSyntaxError:
    with pytest.raises(TraceSyntaxError) as caught:
        parse(text, "some-file", **options)
    return caught.value


def test_blank_lines_and_comments_declare_nothing() -> None:
    assert parse("\n  \t\n# a(int x) \"\"\n   # indented\n", "t") == []
    assert parse("", "t") == []


def test_an_event_has_a_name_typed_arguments_and_a_format() -> None:
    spec = one('an_event(const char *who, uint32_t n) "%s = %u"')
    assert spec.name == "an_event"
    assert [str(argument) for argument in spec.arguments] == ["const char *who", "uint32_t n"]
    assert [argument.type.kind for argument in spec.arguments] == [Kind.STRING, Kind.INTEGER]
    assert spec.formats == ("%s = %u",)
    assert spec.properties == ()
    assert spec.traceable


def test_void_is_no_arguments() -> None:
    assert one('an_event(void) ""').arguments == ()
    assert one('an_event( void ) ""').arguments == ()


def test_blanks_around_the_format_are_optional_and_so_is_the_format() -> None:
    assert one('a(int x)"%d"') == one('  a( int  x )   "%d"   ') == one('a(int x) "%d"\r')
    assert one("a(int x)").formats == ("",)


def test_ten_arguments_are_taken_and_eleven_refused() -> None:
    assert len(one(f"a({', '.join(f'int x{i}' for i in range(10))})").arguments) == 10
    error = refused(f"a({', '.join(f'int x{i}' for i in range(11))})\n")
    assert "11 arguments" in error.reason


def test_a_star_belongs_to_the_type_wherever_it_stands() -> None:
    for text in ("char *p", "char* p", "char*p", "char * p"):
        argument = one(f"a({text})").arguments[0]
        assert (argument.type.text, argument.name, argument.type.kind) == ("char *", "p", Kind.STRING)
    argument = one("a(char **p)").arguments[0]
    assert (argument.type.text, argument.type.kind) == ("char **", Kind.POINTER)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("int", -(2**31), 2**31 - 1),
        ("unsigned", 0, 2**32 - 1),
        ("unsigned int", 0, 2**32 - 1),
        ("long", -(2**63), 2**63 - 1),
        ("unsigned long long", 0, 2**64 - 1),
        ("long long int", -(2**63), 2**63 - 1),
        ("short", -(2**15), 2**15 - 1),
        ("char", -128, 255),
        ("signed char", -128, 127),
        ("unsigned char", 0, 255),
        ("bool", 0, 1),
        ("int8_t", -128, 127),
        ("uint16_t", 0, 2**16 - 1),
        ("int32_t", -(2**31), 2**31 - 1),
        ("const uint64_t", 0, 2**64 - 1),
        ("size_t", 0, 2**64 - 1),
        ("ssize_t", -(2**63), 2**63 - 1),
        ("uintptr_t", 0, 2**64 - 1),
        ("ptrdiff_t", -(2**63), 2**63 - 1),
        ("void *", 0, 2**64 - 1),
        ("const uint8_t *", 0, 2**64 - 1),
    ],
)
def test_a_type_bounds_its_values(text: str, low: int, high: int) -> None:
    kind = one(f"a({text} x)", strict=True).arguments[0].type
    assert (kind.low, kind.high) == (low, high)
    assert [kind.convert(value, "x") for value in (low, high)] == [low, high]
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match="must be"):
            kind.convert(value, "x")


def test_other_types_are_taken_as_in_2018_and_refused_by_strict() -> None:
    assert one("a(struct Foo *x)").arguments[0].type.kind is Kind.POINTER
    assert one("a(hwaddr x)").arguments[0].type.kind is Kind.OPAQUE
    for text in ("struct Foo *x", "hwaddr x"):
        assert "basic types" in refused(f"a({text})\n", strict=True).reason


def test_macros_stand_between_the_quoted_parts() -> None:
    assert one('a(uint64_t x, int8_t y) "%" PRIu64 " and %"PRId8').formats == ("%lu and %d",)
    assert one('a(uintptr_t x) "0x%" PRIxPTR').formats == ("0x%lx",)
    assert one('a(int x) "one" " two"').formats == ("one two",)


def test_escapes_are_those_of_c() -> None:
    assert one(r'a(void) "\"\\\t\n\x41\101 :)"').formats == ('"\\\t\nAA :)',)
    assert one('a(void) "café"').formats == ("café",)


def test_tcg_needs_two_formats_and_nothing_else_may_have_them() -> None:
    assert one('vcpu tcg a(int x) "%d", "then %d"').formats == ("%d", "then %d")
    assert "two formats" in refused('tcg a(int x) "%d"\n').reason
    assert "two formats" in refused('a(int x) "%d", "%d"\n').reason


def test_vcpu_adds_an_argument_in_front() -> None:
    spec = one('vcpu a(int x) "%d"')
    assert [argument.type.text for argument in spec.call_arguments] == ["void *", "int"]
    assert len(spec.arguments) == 1


def test_disable_makes_an_event_untraceable() -> None:
    assert not one('disable a(void) ""').traceable


def test_strict_refuses_what_later_releases_do() -> None:
    for line, reason in [
        ('a(void) "text\\n"', "newline"),
        ('a(void) "te\\nxt"', "newline"),
        ('a(void) "%m"', "%m"),
        ('a(void) "%-05m"', "%m"),
        ('vcpu a(void) ""', "gone"),
        ('aBc(void) ""', "lower case"),
    ]:
        parse(f"{line}\n", "t")
        assert reason in refused(f"{line}\n", strict=True).reason
    assert one('a(void) "100%%moved"', strict=True).formats == ("100%%moved",)


def test_strict_wants_a_newline_at_the_end() -> None:
    parse('a(void) ""', "t")
    error = refused('a(void) ""\nb(void) ""', strict=True)
    assert error.line == 2
    assert "newline" in error.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "an event is written"),
        ('a(int x "%d"', "an event is written"),
        ('a (int x) "%d"', "blank between"),
        ('(int x) "%d"', "not a name"),
        ('9a(int x) "%d"', "not a name"),
        ('a-b(int x) "%d"', "not a name"),
        ('loud a(int x) "%d"', "unknown property 'loud'"),
        ('a() ""', "did you forget to use 'void'"),
        ('a(int x,) ""', "argument 2 is empty"),
        ('a(int x, , int y) ""', "argument 2 is empty"),
        ('a(int) ""', "has no name"),
        ('a(const char *) ""', "has no name"),
        ('a(int x, int x) ""', "two arguments are called 'x'"),
        ('a(int x[4]) ""', "'[' does not belong"),
        ('a(void x) ""', "'void'"),
        ('a(long short x) ""', "not a type"),
        ('a(unsigned signed x) ""', "not a type"),
        ('a(const x) ""', "not a type"),
        ('a(* x) ""', "not a type"),
        ('a(int x) %d', "must follow ')'"),
        ('a(int x) "%d', "not closed"),
        ('a(int x) "%" PRIu65', "PRI macros"),
        ('a(int x) "%d" ;', "';' does not belong"),
        ('a(int x) "%d",', "missing after ','"),
        ('a(int x) "",,""', "missing before ','"),
        (r'a(void) "\q"', "unknown escape"),
        (r'a(void) "\400"', "more than a byte"),
        (r'a(void) "\0"', "NUL"),
    ],
)
def test_a_broken_rule_is_told_with_file_and_line(line: str, reason: str) -> None:
    error = refused(f'# a comment\nfirst(int x) "%d"\n\n{line}\nlast(void) ""\n')
    assert reason in error.reason
    assert (error.source, error.line) == ("some-file", 4)
    assert str(error).startswith("some-file:4: ")


def test_names_are_unique_within_a_file_and_over_all() -> None:
    assert "already declared at some-file:1" in refused('a(void) ""\na(int x) ""\n').reason
    with pytest.raises(TraceSyntaxError, match="second:2: event 'a' is already declared at first:1"):
        check_unique(parse("a(void)\n", "first") + parse("b(void)\na(void)\n", "second"))


def test_the_list_begins_with_the_twelve_original_events_and_adds_portable_ones() -> None:
    specs = load()
    assert [spec.name for spec in specs[:12]] == ORIGINAL
    added = "".join(f"{spec}\n" for spec in specs[12:])
    assert parse(added, "t", strict=True) == specs[12:]
    rooms = ("colo_compare_", "colo_proxy_", "colo_link_", "colo_rewrite_", "vhost_ring_")
    assert all(spec.name.startswith(rooms) for spec in specs[12:])


def test_sections_are_the_headings_of_the_list() -> None:
    sections = {spec.name: spec.section for spec in load()}
    assert sections["colo_compare_ip_info"] == "net/colo-compare.c"
    assert sections["colo_link_peer_lost"] == "coloproxy"


names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
types = st.sampled_from(
    ["int", "unsigned", "uint8_t", "int64_t", "bool", "size_t", "const char *", "void *", "char **", "hwaddr",
     "struct Foo *", "const char * const", "unsigned long long"]
)


@st.composite
def specs(draw: st.DrawFn) -> EventSpec:
    arguments = draw(st.lists(types, max_size=10))
    inside = ", ".join(f"{text} x{number}" for number, text in enumerate(arguments)) or "void"
    formats = (draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)),)
    properties = tuple(draw(st.lists(st.sampled_from(["disable", "vcpu"]), unique=True)))
    head = " ".join((*properties, draw(names)))
    (spec,) = parse(f"{head}({inside})\n", "t")
    return EventSpec(spec.name, spec.arguments, formats, spec.properties)


@given(specs())
def test_an_event_read_back_from_its_line_is_the_same(spec: EventSpec) -> None:
    assert parse(f"{spec}\n", "t") == [spec]


@given(
    st.lists(st.sampled_from([*' \n,*()"#%\\_ax9', "int ", "void", "char *", "PRIu64", "disable ", '(int x) "%d"\n']))
    .map("".join)
    | st.text(),
    st.booleans(),
)
def test_any_text_is_parsed_or_refused_at_one_of_its_lines(text: str, strict: bool) -> None:
    lines = text.split("\n")
    try:
        found = parse(text, "t", strict=strict)
        told = [spec.line for spec in found]
        assert all(spec.name in lines[spec.line - 1] for spec in found)
    except TraceSyntaxError as error:
        told = [error.line]
    assert set(told) <= set(range(1, len(lines) + 1))
