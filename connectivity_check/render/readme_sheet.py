"""The sheet that explains a workbook to whoever it is sent to."""

from __future__ import annotations

from connectivity_check.model import Outcome, Report
from connectivity_check.render import overview
from connectivity_check.render import texts as words
from connectivity_check.render.code_names import CODE_TEXTS
from connectivity_check.render.texts import Lang, Text

_LINES = (
    (
        Text("Change request", "変更依頼"),
        Text(
            "One line per rule to open, sorted by who has to open it. Owner and dates are to be filled in by"
            " you.",
            "開放するルールごとに 1 行。対応する装置の順に並んでいます。担当者と期間は記入してください。",
        ),
    ),
    (
        Text("Addresses", "アドレス"),
        Text(
            "The addresses behind a name change often: write rules by name where the box can do that.",
            "名前に対応するアドレスは頻繁に変わります。可能な限り FQDN でルールを作成してください。",
        ),
    ),
    (
        Text("TLS inspection, login", "TLS 検査、認証"),
        Text(
            "The security agent checks the service's own certificate and cannot log in to a proxy: exempt the"
            " names from inspection and from proxy authentication.",
            "エージェントはサービスの証明書を検証し、プロキシ認証を行えません。"
            "TLS 検査とプロキシ認証の対象外にしてください。",
        ),
    ),
    (
        Text("Verify command", "確認コマンド"),
        Text(
            "Run it on the source device after the change; it needs no privileges. Exit code 0: open.",
            "変更後に送信元の端末で実行してください (管理者権限不要)。終了コード 0 は開通を示します。",
        ),
    ),
    (
        Text("Apostrophe", "アポストロフィ"),
        Text(
            "A text that begins with ' and a sign like = + - @ was quoted so that no program takes it for a"
            " formula; the apostrophe is not part of it.",
            "= + - @ などで始まる文字列は、数式と解釈されないよう先頭に ' を付けています"
            " (値の一部ではありません)。",
        ),
    ),
)


def readme_lines(report: Report, lang: Lang) -> list[tuple[str, str]]:
    """Give label and text of each line: verdict, circumstances, findings, explanations, the codes in use."""
    lines = [(words.VERDICT.said(lang), overview.headline(report).said(lang))]
    partial = overview.partial_sentence(report, lang)
    if partial:
        lines.append(("PARTIAL", partial))
    lines += [(words.OUTCOMES[each].said(lang), str(report.count(each))) for each in Outcome]
    lines += [(label.said(lang), value) for label, value in overview.facts_of(report, lang)]
    for finding in report.findings:
        lines.append((overview.cause(finding).said(lang), overview.todo(finding).said(lang)))
    lines += [(label.said(lang), text.said(lang)) for label, text in _LINES]
    used = {finding.failure: None for row in report.rows for finding in (row.finding, *row.others) if finding}
    lines += [
        (code.value, f"{CODE_TEXTS[code].title.said(lang)}: {CODE_TEXTS[code].meaning.said(lang)}")
        for code in used
    ]
    return lines
