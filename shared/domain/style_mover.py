"""A program of its own, started by `letter_html`: style rules move into their elements, within limits (S3).

The only importer of css_inline. A few dozen kilobytes of HTML can make it overflow the stack, take gigabytes or take
minutes: elements nested by the ten thousand, formatting that every paragraph opens again, endless lists of selectors.
Here that ends a small process and not a service. Reads HTML from standard input, writes it to standard output.
"""

import resource
import sys

import css_inline

#: Seconds of the processor, bytes of memory, and bytes of an answer.
MOST_SECONDS, MOST_MEMORY, LONGEST_ANSWER = 2, 512 * 1024 * 1024, 2_000_000
#: Exit codes: the style rules cannot be read (the reason follows on standard output); the answer is too long.
UNREADABLE, TOO_LONG = 3, 4


def main() -> int:
    """`document` as the argument: the HTML is a whole document, and keeps what only its head can hold."""
    for kind, most in (
        (resource.RLIMIT_CPU, MOST_SECONDS),
        (resource.RLIMIT_AS, MOST_MEMORY),
        (resource.RLIMIT_CORE, 0),
    ):
        _, allowed = resource.getrlimit(kind)
        limit = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (limit, limit))
    document = sys.argv[1:] == ["document"]
    html = sys.stdin.buffer.read().decode()
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=document)
    try:
        answer = (inliner.inline(html) if document else inliner.inline_fragment(html, "")).encode()
        code = 0
    except css_inline.InlineError as exc:
        answer, code = str(exc).encode(), UNREADABLE
    if len(answer) > LONGEST_ANSWER:
        return TOO_LONG
    sys.stdout.buffer.write(answer)
    return code


if __name__ == "__main__":
    sys.exit(main())
