// Unfold opens its menus, its filters and the navigation by elements that only a mouse can click: make them buttons.
(function () {
  "use strict";

  const NAMES = { sidebar: "Show or hide the navigation", openTheme: "Choose the theme" };
  const CLICKABLE = "span, div, h2, a:not([href])";

  function asButton(element) {
    const does = element.getAttribute("x-on:click");
    const known = Object.keys(NAMES).find(function (part) { return does.includes(part); });
    element.setAttribute("role", "button");
    element.setAttribute("tabindex", "0");
    if (element.title || known) element.setAttribute("aria-label", element.title || NAMES[known]);
  }

  function focusWhenShown(element, frames) {
    element.focus();
    if (document.activeElement === element || frames === 0) return;
    requestAnimationFrame(function () { focusWhenShown(element, frames - 1); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("#page [x-on\\:click]").forEach(function (element) {
      // What lies behind an open panel closes it for the mouse; Escape does for the keyboard.
      if (element.matches(CLICKABLE) && element.textContent.trim()) asButton(element);
    });
    // The name of an icon is a picture, not a word to be read out where other words stand beside it.
    document.querySelectorAll(".material-symbols-outlined:not([role])").forEach(function (icon) {
      const around = icon.parentElement.textContent.replace(icon.textContent, "");
      if (around.trim()) icon.setAttribute("aria-hidden", "true");
    });
  });

  // Not by its address: a fragment would stay in the address of what is sent next, and take the focus there.
  document.addEventListener("click", function (event) {
    if (!event.target.matches(".gf-skip")) return;
    event.preventDefault();
    const content = document.querySelector("#content");
    content.setAttribute("tabindex", "-1");
    content.focus();
  });

  document.addEventListener("keydown", function (event) {
    if ((event.key !== "Enter" && event.key !== " ") || !event.target.matches("[role=button][x-on\\:click]")) return;
    event.preventDefault();
    event.target.click();
    if (event.target.getAttribute("x-on:click").includes("filterOpen")) focusOnFilters();
  });

  // The panel comes after the list: whoever opens it would have to walk through every row to reach it.
  function focusOnFilters() {
    const first = document.querySelector("#changelist-filter a");
    if (first) focusWhenShown(first, 60);
  }

  // Opened for the first time, it comes from the server.
  document.addEventListener("htmx:load", function (event) {
    if (event.target.id === "changelist-filter") focusOnFilters();
  });
})();
