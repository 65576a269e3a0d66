// Dark as control rooms are, or light on request; the choice stays on this device.
const button = document.getElementById("theme");
const shown = () => document.documentElement.dataset.theme;

function choose(theme) {
  document.documentElement.dataset.theme = theme;
  button.textContent = theme === "dark" ? "Light" : "Dark";
  dispatchEvent(new Event("themechange"));
}

choose(localStorage.getItem("theme") === "light" ? "light" : "dark");
button.addEventListener("click", () => {
  choose(shown() === "dark" ? "light" : "dark");
  localStorage.setItem("theme", shown());
});
document.getElementById("newer")?.addEventListener("click", () => history.back());
