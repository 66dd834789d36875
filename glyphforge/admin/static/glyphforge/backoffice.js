// What the back office adds to Unfold. No inline handlers: the content security policy forbids them.
(function () {
  "use strict";

  function selectAndCopy(text) {
    const field = document.createElement("textarea");
    field.value = text;
    field.setAttribute("readonly", "");
    field.style.position = "fixed";
    field.style.opacity = "0";
    document.body.appendChild(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }

  function copy(text) {
    // navigator.clipboard exists on HTTPS and localhost only.
    if (navigator.clipboard) {
      return navigator.clipboard.writeText(text).catch(function () { selectAndCopy(text); });
    }
    selectAndCopy(text);
    return Promise.resolve();
  }

  document.addEventListener("click", function (event) {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    event.preventDefault();
    copy(button.dataset.copy).then(function () {
      const icon = button.querySelector(".material-symbols-outlined");
      icon.textContent = "check";
      setTimeout(function () { icon.textContent = "content_copy"; }, 1500);
    });
  });

  // The browser's own autofocus waits for a frame to be drawn: what is typed before that is lost.
  document.addEventListener("DOMContentLoaded", function () {
    const field = document.querySelector("[aria-invalid=true]") || document.querySelector("[autofocus]");
    if (field && document.activeElement === document.body) field.focus();
  });

  // What another system has to be asked for comes after the page, which never waits for it.
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-gf-refresh]").forEach(function (part) {
      fetch(part.dataset.gfRefresh, { headers: { "X-Part": "1" } })
        .then(function (answer) { return answer.ok ? answer.text() : null; })
        .then(function (html) { if (html) part.innerHTML = html; })
        .catch(function () { /* what was known stays */ });
    });
  });

  // Whoever goes back to a confirmation gets it rendered anew, with what they typed: it is still the one they sent.
  document.addEventListener("DOMContentLoaded", function () {
    const token = document.querySelector(".gf-confirm input[name=token]");
    if (!token) return;
    const known = history.state && history.state.token;
    if (known) token.value = known;
    else history.replaceState({ token: token.value }, "");
  });
})();
