// How a TypeScript or JavaScript back end uses Holdfast through Temporal alone: it starts the
// onboarding of one customer, waits a while until billing is ready, and prints the status.
//
//   npm install && TEMPORAL_ADDRESS=127.0.0.1:7233 node main.mjs u_1 ada@example.com
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';

const [customerID, email] = process.argv.slice(2);
if (!customerID || !email) {
  console.error('usage: node main.mjs CUSTOMER_ID EMAIL');
  process.exit(2);
}

const connection = await Connection.connect({ address: process.env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233' });
try {
  const temporal = new Client({ connection, namespace: process.env.TEMPORAL_NAMESPACE ?? 'default' });

  // The profile is the body of POST /v1/customers. It is stored under the same rules, and this is
  // the one place where personal data enters a history: see README.md beside this folder.
  const startWorkflowOperation = new WithStartWorkflowOperation('CustomerOnboarding', {
    workflowId: `onboarding/${customerID}`,
    taskQueue: 'holdfast',
    workflowIdConflictPolicy: 'USE_EXISTING',
    staticSummary: `onboarding of ${customerID}`,
    args: [{ customer_id: customerID, profile: { id: customerID, email } }],
  });

  // The update starts the workflow if need be, and returns when billing is ready or after wait_ms.
  const status = await temporal.workflow.executeUpdateWithStart('ensure', {
    startWorkflowOperation,
    args: [{ wait_ms: 10_000 }],
  });
  console.log(JSON.stringify(status));
} finally {
  await connection.close();
}
