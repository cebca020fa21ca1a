// Runs before the first paint, so that a chosen theme never flashes. The choice is in the URL (?theme=) or kept from before.
(() => {
  const root = document.documentElement;
  const asked = new URLSearchParams(location.search).get("theme");
  let kept = null;
  try {
    if (asked === "dark" || asked === "light") localStorage.setItem("headrace-theme", asked);
    kept = localStorage.getItem("headrace-theme");
  } catch { /* storage may be forbidden; the system's choice stands */ }
  const theme = asked === "dark" || asked === "light" ? asked : kept;
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  root.classList.add("js");
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-toggle]");
    const show = () => button.setAttribute("aria-pressed", String(isDark()));
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("headrace-theme", root.dataset.theme); } catch { /* as above */ }
      show();
      document.dispatchEvent(new Event("headrace-theme"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      show();
      document.dispatchEvent(new Event("headrace-theme"));
    });
  });
})();
