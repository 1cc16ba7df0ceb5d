"""Words for the codes of name resolution, connection and proxy."""

from __future__ import annotations

from typing import Final

from connectivity_check.failure import Failure
from connectivity_check.render.code_text import CodeText
from connectivity_check.render.code_text import code_text as _c

# ruff's line length holds; a line is one text: title, 題名, meaning, 意味, 対応.
DNS: Final[dict[Failure, CodeText]] = {
    Failure.DNS_NXDOMAIN: _c(
        "Name does not exist here",
        "名前が存在しないと応答",
        "The DNS resolver says that this name does not exist, although it exists on the internet.",
        "実在する名前に対し、DNS リゾルバーが「存在しない」と応答しています。",
        "リゾルバーの応答ポリシー (RPZ) から除外するか、該当ゾーンの転送設定を追加してください。",
    ),
    Failure.DNS_NODATA: _c(
        "Name has no address here",
        "名前にアドレスがない",
        "The DNS resolver knows the name but gives no address for it.",
        "DNS リゾルバーは名前を認識していますが、アドレスを返しません。",
        "応答ポリシー (nodata) または内部ゾーンのレコード不足を確認してください。",
    ),
    Failure.DNS_REFUSED: _c(
        "Resolver refuses",
        "リゾルバーが応答を拒否",
        "The DNS resolver refuses to answer for this name.",
        "DNS リゾルバーがこの名前への応答を拒否しています。",
        "リゾルバーのアクセス制御とポリシーを確認してください。",
    ),
    Failure.DNS_SERVFAIL: _c(
        "Resolver fails",
        "リゾルバーの内部エラー",
        "The DNS resolver could not find the answer for this name.",
        "DNS リゾルバーがこの名前の解決に失敗しています。",
        "リゾルバーの上位サーバーと DNSSEC 検証を確認してください。",
    ),
    Failure.DNS_TIMEOUT: _c(
        "No DNS answer",
        "DNS の応答なし",
        "No answer came to the question for this name.",
        "この名前の問い合わせに応答がありません。",
        "リゾルバーへの udp/53 と tcp/53 を許可するか、該当ゾーンの転送先を確認してください。",
    ),
    Failure.DNS_SINKHOLE: _c(
        "Name sent to nowhere",
        "名前が無効なアドレスに誘導",
        "The DNS resolver answers with an address that leads nowhere: a DNS filter blocks the name.",
        "DNS フィルターが無効なアドレスを返し、この名前を遮断しています。",
        "DNS フィルターでこの名前を許可してください。",
    ),
    Failure.DNS_PRIVATE_ANSWER: _c(
        "Private address for a public name",
        "公開名に内部アドレス",
        "The name resolves to an address inside the company, where the service is not.",
        "公開サービスの名前が社内アドレスに解決されています。",
        "内部ゾーンまたはリバインディング保護の例外を見直してください (Private Link の場合は正常です)。",
    ),
    Failure.DNS_INCONSISTENT: _c(
        "Wrong address",
        "誤ったアドレス",
        "The name resolves to an address that is not the service's.",
        "サービスのものではないアドレスに解決されています。",
        "偽の、または古いゾーン情報を削除してください。",
    ),
    Failure.DNS_INJECTED: _c(
        "DNS answer injected",
        "DNS 応答の割り込み",
        "Something on the way answers DNS questions in the resolver's place.",
        "経路上の装置がリゾルバーに代わって DNS 応答を返しています。",
        "経路上の DNS フィルターでこの名前を除外してください。",
    ),
    Failure.DNS_NX_REWRITE: _c(
        "Missing names are answered",
        "存在しない名前にも応答",
        "The resolver gives an address even for names that do not exist.",
        "リゾルバーが存在しない名前にもアドレスを返しています。",
        "応答の書き換えを無効にするか、別のリゾルバーを使用してください。",
    ),
    Failure.DNS_LOCAL_OVERRIDE: _c(
        "Overridden on this device",
        "端末側で名前を上書き",
        "This device's hosts file or name policy sends the name elsewhere.",
        "端末の hosts ファイルまたは名前解決ポリシーがこの名前を上書きしています。",
        "端末の該当エントリを削除してください。",
    ),
    Failure.DNS_PROXY_ONLY: _c(
        "Resolved by the proxy only",
        "プロキシのみが名前解決",
        "The name does not resolve here, but the proxy resolves it: nothing to change.",
        "端末では名前解決できませんが、プロキシが解決するため問題ありません。",
        "変更は不要です。",
    ),
}

TCP_AND_IP: Final[dict[Failure, CodeText]] = {
    Failure.TCP_DROPPED: _c(
        "Silently dropped",
        "無応答で破棄",
        "A firewall throws the connection away without a word.",
        "ファイアウォールが接続を無応答で破棄しています。",
        "表示されたルーターより先のファイアウォールで、この宛先への外向き通信を許可してください。",
    ),
    Failure.TCP_RESET_MIDDLEBOX: _c(
        "Reset by a firewall",
        "ファイアウォールがリセット",
        "A box on the way ends the connection in the server's name.",
        "経路上の装置がサーバーに代わって接続を切断しています。",
        "該当装置のルールを reject/reset から permit に変更してください。",
    ),
    Failure.TCP_REFUSED_HOST: _c(
        "Server refuses",
        "サーバーが接続を拒否",
        "The server's own address refuses this port: no firewall is to blame.",
        "サーバー自身がこのポートを拒否しており、ファイアウォールの問題ではありません。",
        "アドレス、ポート、サービスの稼働状況を確認してください。",
    ),
    Failure.TCP_ICMP_ADMIN: _c(
        "Prohibited by a rule",
        "ルールにより禁止",
        "A firewall says that a rule prohibits the connection.",
        "ファイアウォールが、ルールによる禁止を通知しています。",
        "通知元の装置で、この宛先への通信を許可してください。",
    ),
    Failure.TCP_ICMP_PORT: _c(
        "Rejected by a firewall",
        "ファイアウォールが拒否",
        "A firewall on the way rejects the connection.",
        "経路上のファイアウォールが接続を拒否しています。",
        "通知元の装置の REJECT ルールで、この宛先への通信を許可してください。",
    ),
    Failure.TCP_NO_ROUTE: _c(
        "No route",
        "経路なし",
        "The network does not know a way to the address: routing, not policy.",
        "宛先への経路がありません。ポリシーではなくルーティングの問題です。",
        "既定の経路と戻りの経路を確認してください。",
    ),
    Failure.TCP_LOCAL_BLOCK: _c(
        "Blocked on this device",
        "端末側で遮断",
        "This device's own firewall or security software forbids the connection.",
        "端末のファイアウォールまたはセキュリティ製品が接続を禁止しています。",
        "端末側の設定でこの宛先への通信を許可してください。",
    ),
    Failure.TCP_FAKE_ACCEPT: _c(
        "Accepted by something else",
        "別の装置が接続を受理",
        "A transparent proxy accepts every connection and then stays silent.",
        "透過プロキシがすべての接続を受理し、その後応答しません。",
        "透過プロキシまたはアクセス ゲートウェイのポリシーで許可してください。",
    ),
    Failure.TCP_RATE_LIMITED: _c(
        "Too many at once",
        "同時接続の制限",
        "Connections work alone but not many at a time: a box limits their rate.",
        "単独の接続は成功しますが、同時に多数の接続を行うと制限されます。",
        "ファイアウォールまたは IPS の新規接続数の制限を緩和してください。",
    ),
    Failure.IP_V6_BROKEN: _c(
        "IPv6 broken",
        "IPv6 が不通",
        "The endpoint works over IPv4, but each try over IPv6 costs time.",
        "IPv4 では利用できますが、IPv6 の試行に時間がかかっています。",
        "IPv6 の経路を修復するか、AAAA レコードの配布を停止してください。",
    ),
    Failure.IP_PMTU_HOLE: _c(
        "Large packets vanish",
        "大きなパケットが消失",
        "Small packets arrive, large ones are lost on the way.",
        "小さなパケットは届きますが、大きなパケットが経路上で失われます。",
        "ICMP タイプ 3 コード 4 と ICMPv6 タイプ 2 を許可するか、MSS を調整してください。",
    ),
    Failure.NET_SLOW: _c(
        "Slow",
        "低速",
        "The endpoint works, but slower than it should.",
        "利用できますが、想定より低速です。",
        "帯域制御、検査装置の負荷、パケット損失を確認してください。",
    ),
}

PROXY: Final[dict[Failure, CodeText]] = {
    Failure.PROXY_UNRESOLVED: _c(
        "Proxy name does not resolve",
        "プロキシの名前解決不可",
        "The proxy's own name has no address.",
        "プロキシ自体の名前を解決できません。",
        "プロキシのアドレス設定を修正するか、DNS レコードを追加してください。",
    ),
    Failure.PROXY_UNREACHABLE: _c(
        "Proxy not reachable",
        "プロキシに到達不可",
        "The proxy cannot be connected to.",
        "プロキシに接続できません。",
        "プロキシのアドレス、ポート、経路を確認してください。",
    ),
    Failure.PROXY_NOT_PROXY: _c(
        "Not a proxy",
        "プロキシではない応答",
        "What answers at the proxy's address is not a proxy of this kind.",
        "プロキシのアドレスで応答したのは、この種類のプロキシではありません。",
        "ポートと方式 (http、https、socks5h) を確認してください。",
    ),
    Failure.PROXY_TIMEOUT: _c(
        "Proxy does not answer in time",
        "プロキシの応答時間切れ",
        "The proxy takes connections, but answers no request in time.",
        "プロキシは接続を受け付けますが、時間内にどの要求にも応答しません。",
        "プロキシの負荷、プロキシ側の名前解決と外向き経路、ポート番号を確認してください。",
    ),
    Failure.PROXY_AUTH: _c(
        "Proxy wants a login",
        "プロキシ認証の要求",
        "The proxy asks for a user name, which a system service does not have.",
        "プロキシが認証を要求していますが、システム サービスは認証できません。",
        "これらの宛先をプロキシ認証の対象外にしてください。",
    ),
    Failure.PROXY_DENIED: _c(
        "Proxy denies",
        "プロキシが拒否",
        "A rule of the proxy forbids this name.",
        "プロキシのルールがこの名前を禁止しています。",
        "プロキシの許可カテゴリにこの宛先を追加してください。",
    ),
    Failure.PROXY_PORT_DENIED: _c(
        "Proxy denies the port",
        "プロキシがポートを拒否",
        "The proxy forbids this port.",
        "プロキシがこのポートを禁止しています。",
        "プロキシでこのポートへの CONNECT を許可してください。",
    ),
    Failure.PROXY_DNS: _c(
        "Proxy cannot resolve the name",
        "プロキシが名前解決に失敗",
        "The proxy does not find the address of this name.",
        "プロキシがこの名前を解決できません。",
        "プロキシが使用するリゾルバーを確認してください。",
    ),
    Failure.PROXY_UPSTREAM_TIMEOUT: _c(
        "No answer behind the proxy",
        "プロキシの先で無応答",
        "The proxy allows it, but the firewall behind the proxy drops it.",
        "プロキシは許可していますが、その先のファイアウォールで破棄されています。",
        "プロキシより外側のファイアウォールで、この宛先への通信を許可してください。",
    ),
    Failure.PROXY_UPSTREAM_REFUSED: _c(
        "Refused behind the proxy",
        "プロキシの先で拒否",
        "The proxy allows it, but its own connection is refused.",
        "プロキシは許可していますが、プロキシからの接続が拒否されています。",
        "プロキシより外側のファイアウォールの拒否ルールを確認してください。",
    ),
    Failure.PROXY_UPSTREAM_UNREACHABLE: _c(
        "No way behind the proxy",
        "プロキシの先に経路なし",
        "The proxy has no way to the service.",
        "プロキシからサービスへの経路がありません。",
        "プロキシより外側のルーティングと拒否ルールを確認してください。",
    ),
    Failure.PROXY_TUNNEL_CUT: _c(
        "Tunnel cut",
        "トンネルの切断",
        "The proxy opens the way and cuts it when it reads the server name.",
        "プロキシは接続を開きますが、サーバー名を確認した時点で切断します。",
        "プロキシまたはその先の TLS ポリシーで、検査なしで許可してください。",
    ),
    Failure.PROXY_PAC_ERROR: _c(
        "PAC file unusable",
        "PAC ファイルの異常",
        "The file that tells which proxy to use cannot be used.",
        "使用するプロキシを指定する PAC ファイルが利用できません。",
        "PAC ファイルまたは配布サーバーを修正してください。",
    ),
    Failure.PROXY_PAC_MISMATCH: _c(
        "PAC file sends it the wrong way",
        "PAC ファイルの経路誤り",
        "The PAC file chooses a way that is closed, although another is open.",
        "PAC ファイルが、通れない経路を選択しています (別の経路は利用可能です)。",
        "PAC ファイルの該当ルールを変更してください。",
    ),
    Failure.PROXY_CONSUMER_CONFLICT: _c(
        "Proxy settings differ",
        "プロキシ設定の不一致",
        "Sensor, antivirus, update and user are configured with different proxies.",
        "センサー、ウイルス対策、更新、ユーザーのプロキシ設定が異なります。",
        "プロキシ設定を統一してください。",
    ),
    Failure.PROXY_SOCKS: _c(
        "SOCKS server refuses",
        "SOCKS サーバーが拒否",
        "The SOCKS server refuses this destination.",
        "SOCKS サーバーがこの宛先を拒否しています。",
        "SOCKS サーバーのルールを変更してください。",
    ),
}
