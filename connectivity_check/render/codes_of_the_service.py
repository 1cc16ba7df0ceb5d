"""Words for the codes of TLS, revocation, HTTP, clock and the run itself."""

from __future__ import annotations

from typing import Final

from connectivity_check.failure import Failure
from connectivity_check.render.code_text import CodeText
from connectivity_check.render.code_text import code_text as _c

TLS: Final[dict[Failure, CodeText]] = {
    Failure.TLS_SNI_RESET: _c(
        "Reset on the server name",
        "サーバー名でリセット",
        "A filter reads the name in the TLS greeting and ends the connection.",
        "フィルターが TLS のサーバー名を読み取り、接続を切断しています。",
        "SNI、アプリケーション、URL のルールでこの名前を許可してください。",
    ),
    Failure.TLS_SNI_DROP: _c(
        "Dropped on the server name",
        "サーバー名で破棄",
        "A filter reads the name in the TLS greeting and throws the packets away.",
        "フィルターが TLS のサーバー名を読み取り、通信を破棄しています。",
        "SNI、アプリケーション、URL のルールでこの名前を許可してください。",
    ),
    Failure.TLS_INTERCEPT_UNTRUSTED: _c(
        "TLS inspected, CA not trusted",
        "TLS 検査 (信頼されない CA)",
        "A box opens the encryption with a certificate that this device does not trust.",
        "装置が暗号を復号しており、その証明書は端末に信頼されていません。",
        "この宛先を TLS 検査の対象外にしてください。",
    ),
    Failure.TLS_INTERCEPT_TRUSTED: _c(
        "TLS inspected",
        "TLS 検査",
        "A box opens the encryption; browsers accept that, the security agent does not.",
        "装置が暗号を復号しています。ブラウザーは受け入れますが、エージェントは受け入れません。",
        "この宛先を TLS 検査の対象外にしてください。",
    ),
    Failure.TLS_STORE_INCOMPLETE: _c(
        "Root certificate missing here",
        "端末のルート証明書不足",
        "The service shows a public certificate whose root this device does not know.",
        "サービスの公的証明書のルートが、この端末の証明書ストアにありません。",
        "端末のルート証明書を最新にしてください。ファイアウォールの変更は不要です。",
    ),
    Failure.TLS_ISSUER_CHANGED: _c(
        "New public issuer",
        "発行元 CA の変更",
        "The service uses a public CA that the list's data does not know yet.",
        "サービスが、リストのデータにない公的 CA を使用しています。",
        "リストのデータを更新してください。ファイアウォールの変更は不要です。",
    ),
    Failure.TLS_EXPIRED: _c(
        "Certificate expired",
        "証明書の期限切れ",
        "The certificate is out of date.",
        "証明書の有効期限が切れています。",
        "検査装置の証明書であれば更新し、サービスのものであれば復旧を待ってください。",
    ),
    Failure.TLS_NOT_YET: _c(
        "Certificate not valid yet",
        "証明書が有効期間前",
        "The certificate begins in the future: mostly this device's clock is wrong.",
        "証明書の有効期間が始まっていません。多くは端末の時計のずれが原因です。",
        "端末の時計と時刻同期 (udp/123) を確認してください。",
    ),
    Failure.TLS_HOSTNAME: _c(
        "Certificate for another name",
        "別の名前の証明書",
        "Something else answers in the service's place.",
        "サービスとは別の装置が応答しています。",
        "DNS、ポータル、仮想サーバーの設定を確認してください。",
    ),
    Failure.TLS_ALERT: _c(
        "TLS refused",
        "TLS の拒否",
        "The other side ends the encryption handshake with an alert.",
        "相手側がアラートを返し、TLS ハンドシェイクを終了しています。",
        "経路上の装置のバージョン、暗号、名前に関するポリシーを確認してください。",
    ),
    Failure.TLS_VERSION_LOW: _c(
        "TLS too old",
        "TLS バージョンが古い",
        "A box on the way does not carry today's versions of TLS.",
        "経路上の装置が現行の TLS バージョンに対応していません。",
        "装置を更新するか、この宛先を対象外にしてください。",
    ),
    Failure.TLS_NOT_TLS: _c(
        "Not TLS",
        "TLS ではない応答",
        "Something unencrypted answers on an encrypted port.",
        "暗号化ポートで平文の応答がありました。",
        "ブロック ページまたは誤った転送の設定を確認してください。",
    ),
}

REVOCATION: Final[dict[Failure, CodeText]] = {
    Failure.REV_CRL: _c(
        "Revocation list not available",
        "失効リストの取得不可",
        "Certificates cannot be checked: the list of revoked ones does not arrive.",
        "失効リスト (CRL) を取得できず、証明書を確認できません。",
        "失効リストの配布先への tcp/80 を、認証と書き換えなしで許可してください。",
    ),
    Failure.REV_OCSP: _c(
        "Certificate status not available",
        "証明書状態の確認不可",
        "Certificates cannot be checked: the status service does not answer.",
        "OCSP に問い合わせできず、証明書を確認できません。",
        "OCSP サーバーへの tcp/80 を、認証と書き換えなしで許可してください。",
    ),
    Failure.REV_CTL: _c(
        "Trust list not available",
        "信頼リストの取得不可",
        "The list of trusted root certificates does not arrive.",
        "信頼されたルート証明書のリストを取得できません。",
        "信頼リストの配布先への tcp/80 を、認証と書き換えなしで許可してください。",
    ),
}

HTTP: Final[dict[Failure, CodeText]] = {
    Failure.HTTP_BLOCK_PAGE: _c(
        "Block page",
        "ブロック ページ",
        "A filter shows its own page instead of the service's answer.",
        "サービスの応答の代わりに、フィルターのページが表示されています。",
        "URL またはカテゴリのフィルターでこの宛先を許可してください。",
    ),
    Failure.HTTP_CAPTIVE_PORTAL: _c(
        "Sign-in page",
        "サインイン ページ",
        "This network wants a sign-in before it lets anything out.",
        "このネットワークは、利用前のサインインを要求しています。",
        "先にサインインするか、端末をポータルの対象外にしてください。",
    ),
    Failure.HTTP_STATUS: _c(
        "Unusual answer",
        "想定外の応答",
        "The service itself answers with an unusual status: not a network fault.",
        "サービス自身が想定外のステータスを返しています。ネットワークの問題ではありません。",
        "サービスの稼働状況を確認してください。",
    ),
    Failure.HTTP_CUT: _c(
        "Request cut off",
        "要求の切断",
        "The connection opens, but the request for this name is cut or never answered.",
        "接続は開きますが、この名前への要求が切断されるか応答されません。",
        "URL またはアプリケーションのルールでこの宛先を許可してください。",
    ),
    Failure.HTTP_METHOD_OR_SIZE: _c(
        "Large transfers fail",
        "大きな転送の失敗",
        "Small requests pass, large uploads or partial downloads do not.",
        "小さな要求は成功しますが、大きな送信または部分取得が失敗します。",
        "本文サイズの上限 (DLP) を解除し、Range 要求を許可してください。",
    ),
    Failure.HTTP_VERSION: _c(
        "Older HTTP version",
        "古い HTTP バージョン",
        "A box on the way takes HTTP/2 out: nothing to change.",
        "経路上の装置が HTTP/2 を除去していますが、問題ありません。",
        "変更は不要です。",
    ),
    Failure.HTTP_HEADER_TAMPER: _c(
        "Headers changed",
        "ヘッダーの改変",
        "A transparent proxy changes unencrypted requests.",
        "透過プロキシが平文の要求を書き換えています。",
        "一覧の宛先を透過プロキシの対象外にしてください。",
    ),
}

RUN: Final[dict[Failure, CodeText]] = {
    Failure.CLOCK_SKEW: _c(
        "Clock wrong",
        "時計のずれ",
        "This device's clock is wrong, which makes certificates look invalid.",
        "端末の時計がずれており、証明書が無効に見えます。",
        "時刻サーバーへの udp/123 を許可し、時計を合わせてください。",
    ),
    Failure.META_NOT_TESTABLE: _c(
        "Cannot be tested",
        "検査不可",
        "The rule names no host that one could try: look at it by eye.",
        "試行できる既知のホストがないルールです。",
        "ルールを目視で確認してください。",
    ),
    Failure.META_SERVICE_DOWN: _c(
        "Service down",
        "サービス停止",
        "The endpoint fails from elsewhere too: no rule of this network is to blame.",
        "別の経路からも失敗するため、このネットワークの問題ではありません。",
        "復旧を待ってください。ファイアウォールの変更は不要です。",
    ),
    Failure.META_FLAKY: _c(
        "Fails now and then",
        "断続的な失敗",
        "Some tries pass and some fail.",
        "成功する試行と失敗する試行があります。",
        "パケット損失、経路の不均衡、アドレス単位のルールを確認してください。",
    ),
    Failure.META_UNEXPLAINED: _c(
        "Failed, reason not known",
        "失敗 (原因不明)",
        "It failed, and nothing passed that it could be compared with.",
        "失敗しましたが、比較できる成功例がありません。",
        "ケーブル、リゾルバー、既定の経路を確認し、再度実行してください。",
    ),
    Failure.META_INTERRUPTED: _c(
        "Not finished",
        "未完了",
        "The run ended before this endpoint was done.",
        "この接続先の検査が終わる前に中断されました。",
        "必要に応じて --deadline を長くし、再度実行してください。",
    ),
}
