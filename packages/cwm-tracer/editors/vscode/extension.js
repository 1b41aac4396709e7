"use strict";
// Starts `cwm debug --dap` for a launch configuration; everything else is the adapter's.
const vscode = require("vscode");

const factory = {
  createDebugAdapterDescriptor(session) {
    const [program, ...words] = session.configuration.command ?? ["cwm"];
    const cwd = session.workspaceFolder?.uri.fsPath;
    return new vscode.DebugAdapterExecutable(program, [...words, "debug", "--dap"], { cwd });
  },
};

exports.activate = (context) => {
  context.subscriptions.push(vscode.debug.registerDebugAdapterDescriptorFactory("cwm", factory));
};
exports.deactivate = () => {};
