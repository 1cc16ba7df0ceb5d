/* The functions a PAC file may call, after the published definitions: Netscape, "Navigator Proxy
 * Auto-Config File Format" (1996), and Microsoft, "IPv6 extensions to PAC" (the ...Ex functions).
 * ES5, no regular expression on a pattern from outside (none can run away). What needs the network asks
 * Python through call_python, which offers the pac.* functions below and nothing else. */
(function (global) {
  "use strict";
  var call = global.call_python;

  function ask(what, argument) {
    var answer = call("pac." + what, String(argument));
    if (answer && answer.error) { throw new Error(answer.error); }
    return answer ? answer.value : null;
  }

  function define(name, body) {
    Object.defineProperty(global, name, {value: body, writable: true, configurable: true});
  }

  /* Four decimal octets -> unsigned number; NaN when it is none. */
  function number(address) {
    var parts = String(address).split("."), result = 0, i, octet;
    if (parts.length !== 4) { return NaN; }
    for (i = 0; i < 4; i += 1) {
      octet = /^[0-9]{1,3}$/.test(parts[i]) ? Number(parts[i]) : 256;
      if (octet > 255) { return NaN; }
      result = result * 256 + octet;
    }
    return result;
  }

  define("isPlainHostName", function (host) {
    return String(host).indexOf(".") < 0 && String(host).indexOf(":") < 0;
  });
  define("dnsDomainIs", function (host, domain) {
    host = String(host); domain = String(domain);
    return host.length >= domain.length && host.slice(host.length - domain.length) === domain;
  });
  define("localHostOrDomainIs", function (host, hostdom) {
    return String(host) === String(hostdom) || String(hostdom).indexOf(host + ".") === 0;
  });
  define("dnsDomainLevels", function (host) { return String(host).split(".").length - 1; });
  define("convert_addr", function (address) {
    var value = number(address);
    return isNaN(value) ? 0 : value | 0;
  });

  define("dnsResolve", function (host) { return ask("resolve4", host); });
  define("isResolvable", function (host) { return ask("resolve4", host) !== null; });
  define("myIpAddress", function () { return ask("mine4", ""); });
  define("isInNet", function (host, pattern, mask) {
    var net = number(pattern), bits = number(mask), address = number(host);
    if (isNaN(net) || isNaN(bits)) { return false; }
    if (isNaN(address)) {
      host = ask("resolve4", host);
      if (host === null) { return false; }
      address = number(host);
    }
    /* >>> 0 on both sides: JavaScript's & gives signed numbers. */
    return ((address & bits) >>> 0) === ((net & bits) >>> 0);
  });

  define("dnsResolveEx", function (host) { return ask("resolve", host) || ""; });
  define("isResolvableEx", function (host) { return ask("resolve", host) !== null; });
  define("myIpAddressEx", function () { return ask("mine", "") || ""; });
  define("isInNetEx", function (host, prefix) { return ask("in_net", host + " " + prefix) === true; });
  define("sortIpAddressList", function (list) { return ask("sort", list) || ""; });
  define("getClientVersion", function () { return "1.0"; });
  define("alert", function () { return undefined; });

  /* Glob match with * and ?, in linear space and without backtracking beyond the last star. */
  define("shExpMatch", function (text, pattern) {
    var t = 0, p = 0, star = -1, mark = 0;
    text = String(text); pattern = String(pattern);
    while (t < text.length) {
      if (p < pattern.length && pattern.charAt(p) === "*") {
        star = p; mark = t; p += 1;
      } else if (p < pattern.length && (pattern.charAt(p) === "?" || pattern.charAt(p) === text.charAt(t))) {
        p += 1; t += 1;
      } else if (star >= 0) {
        p = star + 1; mark += 1; t = mark;
      } else {
        return false;
      }
    }
    while (pattern.charAt(p) === "*") { p += 1; }
    return p === pattern.length;
  });

  var DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
  var MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

  /* The arguments without a last "GMT", and a reader of the clock in the zone that is meant. */
  function ranged(parameters) {
    var args = Array.prototype.slice.call(parameters), now = new Date();
    var gmt = args.length > 0 && String(args[args.length - 1]).toUpperCase() === "GMT";
    if (gmt) { args.pop(); }
    return {args: args, read: function (part) { return now["get" + (gmt ? "UTC" : "") + part](); }};
  }
  /* From first to last, both included; over the turn of the week, month, year or day when first is later. */
  function between(first, value, last) {
    return first <= last ? first <= value && value <= last : value >= first || value <= last;
  }

  define("weekdayRange", function () {
    var given = ranged(arguments), days = given.args.map(function (d) { return DAYS.indexOf(String(d).toUpperCase()); });
    if (days.length < 1 || days.length > 2 || days.indexOf(-1) >= 0) { return false; }
    return between(days[0], given.read("Day"), days[days.length - 1]);
  });

  /* Which part of a date an argument is: day 1-31, month by name, year above 31. */
  function kind(value) {
    if (MONTHS.indexOf(String(value).toUpperCase()) >= 0) { return "month"; }
    return Number(value) >= 1 && Number(value) <= 31 ? "day" : Number(value) > 31 ? "year" : "";
  }
  function dateKey(parts, used) {
    return (used.year ? parts.year * 10000 : 0) + (used.month ? parts.month * 100 : 0) + (used.day ? parts.day : 0);
  }
  function dateParts(values) {
    var parts = {};
    values.forEach(function (value) {
      var k = kind(value);
      parts[k] = k === "month" ? MONTHS.indexOf(String(value).toUpperCase()) : Number(value);
    });
    return parts;
  }
  define("dateRange", function () {
    var given = ranged(arguments), count = given.args.length, half, first, last, now, used = {}, a, b, v;
    if ([1, 2, 4, 6].indexOf(count) < 0) { return false; }
    half = count === 1 ? 1 : count / 2;
    first = dateParts(given.args.slice(0, half));
    last = dateParts(given.args.slice(count - half));
    if (Object.keys(first).sort().join() !== Object.keys(last).sort().join() || "" in first) { return false; }
    Object.keys(first).forEach(function (k) { used[k] = true; });
    now = {year: given.read("FullYear"), month: given.read("Month"), day: given.read("Date")};
    a = dateKey(first, used); b = dateKey(last, used); v = dateKey(now, used);
    /* Years do not come round again. */
    return used.year ? a <= v && v <= b : between(a, v, b);
  });

  define("timeRange", function () {
    var given = ranged(arguments), n = given.args.map(Number), now;
    if ([1, 2, 4, 6].indexOf(n.length) < 0 || n.some(isNaN)) { return false; }
    now = given.read("Hours");
    if (n.length === 1) { return now === n[0]; }
    if (n.length === 2) { return between(n[0], now, n[1]); }
    now = now * 3600 + given.read("Minutes") * 60 + given.read("Seconds");
    if (n.length === 4) { return between(n[0] * 3600 + n[1] * 60, now, n[2] * 3600 + n[3] * 60 + 59); }
    return between(n[0] * 3600 + n[1] * 60 + n[2], now, n[3] * 3600 + n[4] * 60 + n[5]);
  });
}(this));
