// What the pages do beyond htmx: keyboard shortcuts, copying, and a word when the controller is silent.
// Everything works without this file; it only makes it quicker.
"use strict";

(() => {
  const KEPT = "isolator-shortcuts";
  const help = document.getElementById("shortcuts");
  const stale = document.getElementById("stale");
  let waiting = "";
  let waitingSince = 0;

  const kept = () => {
    try {
      return localStorage.getItem(KEPT) !== "off";
    } catch {
      return true; // a browser that keeps nothing has them on
    }
  };

  const typing = (target) =>
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

  const follow = (selector) => {
    const found = document.querySelector(selector);
    if (found) found.click();
    return Boolean(found);
  };

  const move = (step) => {
    const links = [...document.querySelectorAll("[data-row]")];
    const here = links.indexOf(document.activeElement);
    const next = links[Math.min(links.length - 1, Math.max(0, here + step))];
    if (next) next.focus();
    return Boolean(next);
  };

  // One table of what keys do; true when something was there to do.
  const keys = {
    "?": () => help && !help.open && (help.showModal(), true),
    "/": () => {
      const field = document.querySelector("[data-search]");
      if (field) field.focus();
      return Boolean(field);
    },
    j: () => move(1),
    k: () => move(-1),
    i: () => follow("[data-key='isolate']"),
    r: () => follow("[data-key='release']"),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (typing(event.target) || (help && help.open) || !kept()) return;
    const recent = waiting === "g" && event.timeStamp - waitingSince < 1500;
    waiting = "";
    if (event.key === "g" && !recent) {
      waiting = "g";
      waitingSince = event.timeStamp;
      return;
    }
    const done = recent ? follow(`[data-go='${CSS.escape(event.key)}']`) : (keys[event.key] || (() => false))();
    if (done) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    if (target.closest("[data-help]") && help) help.showModal();
    if (target.closest("[data-close]") && help) help.close();
    const copy = target.closest("[data-copy]");
    if (copy) {
      const source = document.getElementById(copy.dataset.copy);
      navigator.clipboard.writeText(source.textContent.trim()).then(() => {
        copy.querySelector("[role='status']").textContent = copy.dataset.done;
      });
    }
  });

  const choice = document.getElementById("shortcuts-on");
  if (choice) {
    choice.checked = kept();
    choice.addEventListener("change", () => {
      try {
        localStorage.setItem(KEPT, choice.checked ? "on" : "off");
      } catch {
        // then it lasts as long as the page
      }
    });
  }

  // A live page that hears nothing says so: what it shows may be old.
  const silent = (yes) => stale && (stale.hidden = !yes);
  document.addEventListener("htmx:sendError", () => silent(true));
  document.addEventListener("htmx:timeout", () => silent(true));
  document.addEventListener("htmx:responseError", (event) => silent(event.detail.xhr.status !== 401));
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (event.detail.xhr.status < 400) silent(false);
  });

  // A live part that is put in anew keeps what the reader opened and how far they scrolled.
  let opened = [];
  let scrolled = [];
  document.addEventListener("htmx:beforeSwap", () => {
    opened = [...document.querySelectorAll("main details[id][open]")].map((each) => each.id);
    scrolled = [...document.querySelectorAll("[data-scroll]")].map((each) => [each.id, each.scrollTop]);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, top] of scrolled) document.getElementById(id)?.scrollTo(0, top);
  });

  // On wide windows the menu is always open; its summary is not shown there.
  const menu = document.querySelector(".menu");
  const wide = matchMedia("(min-width: 56.01rem)");
  const fit = () => menu && (menu.open = wide.matches);
  fit();
  wide.addEventListener("change", fit);
})();
