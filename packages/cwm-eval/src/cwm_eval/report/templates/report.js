(() => {
  const samples = [...document.querySelectorAll(".sample")];
  const verdicts = [...document.querySelectorAll("[data-show]")];
  const construct = document.getElementById("construct");
  const run = document.getElementById("run");
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  let verdict = "all";

  const matches = (sample) =>
    (verdict === "all" || (verdict === "right") === (sample.dataset.verdict === "right")) &&
    (!construct.value || JSON.parse(sample.dataset.constructs).includes(construct.value)) &&
    (!run || !run.value || sample.dataset.run === run.value) &&
    sample.dataset.search.includes(search.value.trim().toLowerCase());

  const update = () => {
    let count = 0;
    for (const sample of samples) {
      sample.hidden = !matches(sample);
      count += !sample.hidden;
    }
    shown.textContent = `${count} of ${samples.length} shown`;
  };

  for (const button of verdicts) {
    button.addEventListener("click", () => {
      verdict = button.dataset.show;
      for (const other of verdicts) other.setAttribute("aria-pressed", String(other === button));
      update();
    });
  }
  for (const control of [construct, run, search]) control?.addEventListener("input", update);
  document.getElementById("all-variables")?.addEventListener("change", (event) =>
    document.getElementById("samples").classList.toggle("all-variables", event.target.checked));
  update();
})();
