// The payment page works without this file; with it, the page follows the payment by itself.
"use strict";
(() => {
  const panel = document.getElementById("panel");
  if (!panel) return;

  const two = (n) => String(n).padStart(2, "0");
  const tick = () => {
    for (const time of panel.querySelectorAll("[data-until]")) {
      const until = new Date(time.dateTime);
      const left = Math.max(0, Math.floor((until - Date.now()) / 1000));
      time.textContent = `${two(until.getHours())}:${two(until.getMinutes())} (${Math.floor(left / 60)}:${two(left % 60)})`;
    }
  };

  const prepare = () => {
    tick();
    for (const button of panel.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  };

  panel.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling); // not allowed to copy: at least mark it
    }
    setTimeout(() => { button.textContent = said; }, 1500);
  });

  panel.addEventListener("submit", (event) => {
    // A second tap must not send a second choice; the button's own value is still sent with this one.
    setTimeout(() => { for (const button of panel.querySelectorAll("button.go")) button.disabled = true; }, 0);
    event.submitter?.classList.add("busy");
  });

  const look = async () => {
    let wait = Number(panel.dataset.poll);
    if (!wait) return;
    try {
      const query = new URLSearchParams({
        client_secret: panel.dataset.secret, have: panel.dataset.revision, lang: panel.dataset.lang,
      });
      const answer = await fetch(`${panel.dataset.state}?${query}`, { signal: AbortSignal.timeout(10000) });
      if (answer.ok) {
        const state = await answer.json();
        if (state.html !== undefined && state.revision !== panel.dataset.revision) {
          panel.innerHTML = state.html; // rendered and escaped by our own server
          panel.dataset.revision = state.revision;
          prepare();
        }
        panel.dataset.poll = state.poll_ms;
        wait = state.poll_ms;
      }
    } catch {
      wait = Math.max(wait, 4000); // offline for a moment: look again later
    }
    if (wait) setTimeout(look, wait);
  };

  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  prepare();
  setInterval(tick, 1000);
  setTimeout(look, Number(panel.dataset.poll) || 0);
})();
