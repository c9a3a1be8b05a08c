// A link inside a button is two controls in one: the button alone opens the operation, and still sets the address.
const plainTitles = ({ React }) => ({
  components: { DeepLink: ({ text }) => React.createElement("span", null, text) },
});

// Names and ranks as people need them who hear the page, or use it without a mouse.
const fixes = [
  [".information-container", { role: "region", "aria-label": "About this API" }],
  [".scheme-container", { role: "region", "aria-label": "Access" }],
  ["#servers", { "aria-label": "Server" }],
  [".opblock-tag, .models h4", { "aria-level": "2" }],
  [".opblock-title, .opblock-section-request-body h4, .responses-inner h4, .responses-inner h5", { "aria-level": "3" }],
  [".modal-ux h3, .modal-ux h4", { "aria-level": "2" }],
  [".modal-ux .close-modal", { "aria-label": "Close" }],
  [".modal-ux .authorize[type=submit]", { "aria-label": "Authorize" }],
  [".body-param__text", { "aria-label": "Request body" }],
  [".response-col_links", { "aria-label": "Links" }],
  [".microlight", { tabindex: "0" }],
];

const fix = () => {
  for (const [selector, attributes] of fixes) {
    for (const element of document.querySelectorAll(selector)) {
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    }
  }
};
new MutationObserver(fix).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayOperationId: false,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
  plugins: [plainTitles],
});
