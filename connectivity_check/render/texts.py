"""Words of the reports in English and Japanese; names of codes are in `code_names`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from connectivity_check.failure import Severity
from connectivity_check.model import BlockerKind, Confidence, Outcome, PathKind, Scope, Step


class Lang(StrEnum):
    """The language that a report is written in (HTML holds both and opens in this one)."""

    EN = "en"
    JA = "ja"


@dataclass(frozen=True, slots=True)
class Text:
    """The same words in both languages."""

    en: str
    ja: str

    def said(self, lang: Lang) -> str:
        """Give the words in one language."""
        return self.ja if lang is Lang.JA else self.en

    def fill(self, **values: object) -> Text:
        """Give the words with numbers and names in their places."""
        return Text(self.en.format(**values), self.ja.format(**values))


TITLE = Text("Preflight report", "事前接続検査レポート")
NUMBER = Text("No.", "番号")
ACTION = Text("Change", "変更")
ENDPOINT = Text("Endpoint", "接続先")
RULE = Text("Rule to open", "開放するルール")
PORT = Text("Port", "ポート")
NEEDED = Text("Needed", "必要性")
REQUIRED = Text("required", "必須")
OPTIONAL = Text("optional", "任意")
VERDICT = Text("Verdict", "判定")
CAUSE = Text("Cause", "原因")
CODE = Text("Code", "コード")
BLOCKED_BY = Text("Blocked by", "遮断元")
WHAT_TO_CHANGE = Text("What to change", "必要な変更")
WHAT_TO_DO = Text("What to do", "対応")
WHY = Text("Evidence", "根拠")
SERVICE = Text("Service", "用途")
TIME = Text("Time", "所要時間")
CONFIDENCE = Text("Confidence", "確度")
SCOPE = Text("Scope", "範囲")
COUNT = Text("Rows", "件数")
WHO_BLOCKS_WHAT = Text("Who blocks what", "どこで何が遮断されているか")
ALL_ROWS = Text("All rows", "全件")
RUN_FINDINGS = Text("About the whole run", "検査全体に関する所見")
ABOUT = Text("About this run", "この検査について")
CHANGES = Text("Changes against the baseline", "基準との差分")
NO_CHANGES = Text("Nothing has changed against the baseline.", "基準との差分はありません。")
NOTHING_BLOCKED = Text("No row needs a change.", "変更が必要な接続先はありません。")
NO_RULE_HELPS = Text("No rule of the network helps here", "ネットワークの変更では解決しないもの")
NO_ROWS = Text("No endpoint was tried.", "検査した接続先はありません。")
BEFORE = Text("Before", "以前")
AFTER = Text("Now", "今回")
NOT_THERE = Text("not there", "なし")
ALSO = Text("Also found", "その他の所見")
SOURCE = Text("Source address", "送信元アドレス")
HOST = Text("Host", "ホスト")
STARTED = Text("Started (UTC)", "開始時刻 (UTC)")
TOOK = Text("Took", "所要時間")
WAY = Text("Way out", "外部への経路")
LISTS = Text("Lists", "リスト")
LANGUAGE = Text("Language", "言語")
CONSUMERS = Text("Configured ways", "設定されている経路")
CONSUMER = Text("Consumer", "利用者")
SET_BY = Text("Set by", "設定元")
UNKNOWN_BLOCKER = Text("not known", "不明")
NO_HOST = Text("no known host", "既知のホストなし")
SECONDS = Text("{s} s", "{s} 秒")
PARTIAL = Text(
    "PARTIAL: the run was stopped before its end; {n} of {total} rows were not finished.",
    "PARTIAL (途中結果): 検査は最後まで実行されていません。{total} 件中 {n} 件が未完了です。",
)
PARTIAL_ROW = Text("not finished", "未完了")

HEADLINE_OPEN = Text(
    "All {required} required endpoints are reachable.", "必須の接続先 {required} 件すべてに到達できます。"
)
HEADLINE_BLOCKED = Text(
    "{blocked} of {required} required endpoints are blocked.",
    "必須の接続先 {required} 件のうち {blocked} 件が遮断されています。",
)
HEADLINE_UNCLEAR = Text(
    "Not decided: {unclear} of {required} required endpoints failed or were not finished, and it is not known"
    " who is at fault.",
    "判定できません: 必須の接続先 {required} 件のうち {unclear} 件が失敗または未完了で、"
    "原因箇所を特定できません。",
)
HEADLINE_DEGRADED = Text(
    "All {required} required endpoints can be used, {degraded} of them with faults.",
    "必須の接続先 {required} 件はすべて利用できますが、{degraded} 件に問題があります。",
)
HEADLINE_UNTESTED = Text(
    "{reachable} of {required} required endpoints are reachable; {untested} cannot be tested and need a look"
    " by eye.",
    "必須の接続先 {required} 件のうち {reachable} 件に到達できます。"
    "{untested} 件は検査できないため目視で確認してください。",
)
HEADLINE_NOTHING = Text("Nothing was tried.", "検査は行われていません。")
HEADLINE_OPTIONAL = Text(
    "None of the endpoints tried is required.", "検査した接続先に必須のものはありません。"
)

OUTCOMES = {
    Outcome.REACHABLE: Text("reachable", "到達可"),
    Outcome.BLOCKED: Text("blocked", "遮断"),
    Outcome.DEGRADED: Text("degraded", "要注意"),
    Outcome.NOT_PROBEABLE: Text("not testable", "検査不可"),
    Outcome.UNEXPLAINED: Text("unexplained", "原因不明"),
}
BLOCKERS = {
    BlockerKind.RESOLVER: Text("DNS resolver", "DNS リゾルバー"),
    BlockerKind.FIREWALL: Text("Firewall or router", "ファイアウォール・ルーター"),
    BlockerKind.PROXY: Text("Proxy", "プロキシ"),
    BlockerKind.TLS_INSPECTION: Text("TLS inspection", "TLS 検査装置"),
    BlockerKind.SERVER: Text("The service itself", "サービス側"),
    BlockerKind.HOST: Text("This device", "この端末"),
    BlockerKind.UNKNOWN: Text("Not known", "不明"),
}
CONFIDENCES = {
    Confidence.CERTAIN: Text("certain", "確実"),
    Confidence.LIKELY: Text("likely", "可能性が高い"),
    Confidence.UNEXPLAINED: Text("unexplained", "不明"),
}
SCOPES = {
    Scope.ENDPOINT: Text("this endpoint", "この接続先のみ"),
    Scope.ADDRESS: Text("some of its addresses", "一部のアドレス"),
    Scope.FAMILY: Text("one IP version", "片方の IP バージョン"),
    Scope.PORT: Text("this port", "このポート"),
    Scope.WILDCARD: Text("other names under the wildcard", "ワイルドカード配下の他の名前"),
    Scope.SEVERAL: Text("several endpoints", "複数の接続先"),
    Scope.ALL: Text("everything", "すべて"),
}
SEVERITIES = {
    Severity.BLOCKING: Text("blocking", "遮断"),
    Severity.WARNING: Text("warning", "警告"),
    Severity.INFO: Text("note", "参考"),
    Severity.UNKNOWN: Text("unknown", "不明"),
}
PATHS = {
    PathKind.DIRECT: Text("direct", "直接"),
    PathKind.PROXY: Text("proxy", "プロキシ"),
    PathKind.PAC: Text("PAC file", "PAC ファイル"),
    PathKind.TRANSPARENT: Text("transparent proxy", "透過プロキシ"),
}
STEPS = {
    Step.RESOLVE: Text("name resolution", "名前解決"),
    Step.CONNECT: Text("TCP connection", "TCP 接続"),
    Step.PROXY_CONNECT: Text("proxy tunnel", "プロキシ トンネル"),
    Step.TLS_HANDSHAKE: Text("TLS handshake", "TLS ハンドシェイク"),
    Step.HTTP_ROUND_TRIP: Text("HTTP request", "HTTP 要求"),
    Step.REVOCATION: Text("certificate status", "証明書失効確認"),
}
ROWS_CAPTION = Text("rows: {n}", "{n} 件")
GROUP_CAPTION = Text("changes: {rules}, endpoints: {rows}", "変更 {rules} 件 (接続先 {rows} 件)")
VERIFY = Text("Check afterwards", "変更後の確認")
FROM = Text("from", "送信元")
